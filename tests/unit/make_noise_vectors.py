#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draw what both samplers of privacy/ must draw from the seam's bytes, with
fractions and decimals of any size instead of fixed words, and the numbers that its tables
must come close to.

Written from the papers and from PRIVACY.md, not from the C: a draw that
differs is an error of one of the two.

Usage: make_noise_vectors.py | clang-format > tests/unit/noise_vectors.h"""
import decimal
from decimal import Decimal
from fractions import Fraction
from math import isqrt

decimal.getcontext().prec = 120
M32, DRAWS = 0xFFFFFFFF, 70  # more than a block of 64
LAWS = [(1, 4), (1, 1), (1024, 625), (9, 1), (6399999, 100000), (64, 1), (256, 1), (16641, 4), (1000000, 1),
        (1 << 30, 1), (1 << 40, 1), (68719476737, 65536), (3, 1 << 30), (1 << 48, 1)]


def philox(key, c):
    k0, k1 = key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [p1 >> 32 ^ c[1] ^ k0, p1 & M32, p0 >> 32 ^ c[3] ^ k1, p0 & M32]
        k0, k1 = k0 + 0x9E3779B9 & M32, k1 + 0xBB67AE85 & M32
    return c


class Bytes:
    """hearth_rng of tests/support/privacy_seam.c: a call starts a new word."""

    def __init__(self, seed, stream):
        self.key = philox((seed & M32, seed >> 32), [5, 0, 0, 0x48454152])[:2]
        self.stream, self.at = stream, 0

    def call(self, n):
        out = b""
        while len(out) < n:
            c = [self.at & M32, self.at >> 32, self.stream & M32, self.stream >> 32]
            w = philox(self.key, c)
            out += (w[1] << 32 | w[0]).to_bytes(8, "little")
            self.at += 1
        return out[:n]


class Pool:
    """1024 bytes at a time; what does not fit a request is dropped."""

    def __init__(self, source):
        self.source, self.left = source, b""

    def take(self, n):
        if len(self.left) < n:
            self.left = self.source.call(1024)
        x, self.left = self.left[:n], self.left[n:]
        return int.from_bytes(x, "little")

    def below(self, n):
        bits = (n - 1).bit_length()
        while bits:
            x = 0
            if bits <= 64:
                x = self.take((bits + 7) // 8)
            else:
                low = self.take(8)
                x = self.take((bits - 64 + 7) // 8) << 64 | low
            x &= (1 << bits) - 1
            if x < n:
                return x
        return 0


def exp_unit(p, num, den):
    """Bernoulli(exp(-num / den)), num <= den."""
    k = 1
    while p.below(den) < num and (k == 1 or p.below(k) == 0):
        k += 1
    return k % 2 == 1


def exp_any(p, num, den):
    while num >= den:
        if not exp_unit(p, 1, 1):
            return False
        num -= den
    return exp_unit(p, num, den)


def laplace(p, t):
    while True:
        u = p.below(t)
        if not exp_unit(p, u, t):
            continue
        v = 0
        while exp_unit(p, 1, 1):
            v += 1
        sign = p.take(1) & 1
        if not (sign and u + t * v == 0):
            return u + t * v, sign


def normative(source, num, den, n):
    p, out = Pool(source), []
    t = isqrt(num // den) + 1
    while len(out) < n:
        y, sign = laplace(p, t)
        # (y - sigma^2 / t)^2 / (2 sigma^2), kept unreduced as bytes depend on it
        if exp_any(p, (y * den * t - num) ** 2, 2 * num * den * t * t):
            out.append(-y if sign else y)
    return out


def exp_neg(f):
    return (-Decimal(f.numerator) / Decimal(f.denominator)).exp()


def production(source, num, den, n):
    b = log2_k(num, den)
    k, out = 1 << b, []
    weight, i = [], 0
    while True:
        g = Fraction(i * i * k * k * den, 2 * num)
        if g > 400:
            break
        weight.append(exp_neg(g))
        i += 1
    total = sum(weight)
    while len(out) < n:
        m = min(64, n - len(out))
        words = 1 + (2 * m if b else m)
        raw = source.call(8 * words)
        w = [int.from_bytes(raw[8 * j:8 * j + 8], "little") for j in range(words)]
        for j in range(m):
            r, y, below = Decimal(w[1 + j]) * total / 2**64, 0, weight[0]
            while below <= r:
                y += 1
                below += weight[y]
            x = k * y
            if b:
                fine = w[1 + m + j]
                u = fine % k
                keep = Decimal(fine >> 22) / 2**42 < exp_neg(Fraction(u * (u + 2 * x) * den, 2 * num))
                x += u
            else:
                keep = True
            sign = w[0] >> j & 1
            if keep and not (sign and x == 0):
                out.append(-x if sign else x)
    return out


def bits(x, n):
    """floor(2^n x) as two words of C."""
    x = int(x * 2**n)
    return "%#xull, %#xull" % (x >> 64, x & (1 << 64) - 1)


def log2_k(num, den):
    b = 0
    while Fraction(num, den) >= 64 * 4**b:
        b += 1
    return b


def thresholds(num, den):
    """(i, P(Y <= i)) for some i; no tail is cut that these decimals can see."""
    unit = Fraction(den * 4**log2_k(num, den), 2 * num)
    weight = []
    while len(weight) < 400 and unit * len(weight)**2 < 260:
        weight.append(exp_neg(unit * len(weight)**2))
    total, n = sum(weight), int((Fraction(80) / unit)**Fraction(1, 2))
    for i in sorted({0, 1, n // 8, n // 4, n // 2, n * 3 // 4, n - 1}):
        if 0 <= i < n:
            yield i, sum(weight[:i + 1]) / total


def keeps(num, den):
    """(w, exp(-w / (2 sigma^2))) for w = U (U + 2 k Y)."""
    k = 1 << log2_k(num, den)
    for u, y in ((1, 0), (k // 3, 2), (k - 1, 0), (k - 1, 7), (k // 2, 40), (k - 1, 50)):
        w = u * (u + 2 * k * y)
        yield w, exp_neg(Fraction(w * den, 2 * num))


def table(name, columns, rows):
    print("\nstatic const struct {%s} %s[] = {" % (columns, name))
    for row in rows:
        print("{%s}," % row)
    print("};")


def main():
    print("/* SPDX-License-Identifier: Apache-2.0 */")
    print("/* tests/unit/noise_vectors.h - written by make_noise_vectors.py, then formatted. */")
    print("#ifndef HEARTH_TESTS_UNIT_NOISE_VECTORS_H\n#define HEARTH_TESTS_UNIT_NOISE_VECTORS_H")
    print('\n#include <stdint.h>\n\n#include "privacy/sigma.h"\n\n#define NOISE_DRAWS %d' % DRAWS)
    print("\n/* Draws of the normative and of the production sampler. */")
    law = "{%dull, %dull}, "
    table("NOISE_DRAWN", "hearth_sigma_sq s; int32_t want[2][NOISE_DRAWS];", (
        law % s + "{" + ", ".join("{" + ", ".join(map(str, f(Bytes(20261120, 400), *s, DRAWS))) + "}"
                                  for f in (normative, production)) + "}" for s in LAWS))
    print("\n/* 2^128 P(Y <= i), high and low word, rounded down. */")
    table("NOISE_THRESHOLDS", "hearth_sigma_sq s; unsigned i; uint64_t high, low;",
          (law % s + "%d, %s" % (i, bits(p, 128)) for s in LAWS for i, p in thresholds(*s)))
    print("\n/* 2^123 exp(-w / (2 sigma^2)), where k > 1. */")
    table("NOISE_KEEPS", "hearth_sigma_sq s; uint64_t w, high, low;",
          (law % s + "%dull, %s" % (w, bits(p, 123)) for s in LAWS if log2_k(*s) for w, p in keeps(*s)))
    print("\n#endif /* HEARTH_TESTS_UNIT_NOISE_VECTORS_H */")


main()
