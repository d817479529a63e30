# SPDX-License-Identifier: Apache-2.0
"""A hand-made device: speaks the wire by itself, so that it can also speak it
wrongly.  It borrows the credentials of a device that has joined."""
import hashlib
import http.client
import ssl
import struct


def pack(v):
    """Canonical msgpack of the few types on the wire."""
    if v is True or v is False:
        return b"\xc3" if v else b"\xc2"
    if isinstance(v, int):
        if v < 128:
            return bytes([v])
        for code, size, form in ((0xcc, 1, ">B"), (0xcd, 2, ">H"), (0xce, 4, ">I"), (0xcf, 8, ">Q")):
            if v < 1 << (8 * size):
                return bytes([code]) + struct.pack(form, v)
    if isinstance(v, str):
        b = v.encode()
        if len(b) < 32:
            return bytes([0xa0 | len(b)]) + b
        head = b"\xd9" + bytes([len(b)]) if len(b) < 256 else b"\xda" + struct.pack(">H", len(b))
        return head + b
    if isinstance(v, bytes):
        head = b"\xc4" + bytes([len(v)]) if len(v) < 256 else b"\xc5" + struct.pack(">H", len(v))
        return head + v
    if isinstance(v, list):
        return bytes([0x90 | len(v)]) + b"".join(pack(x) for x in v)
    return bytes([0x80 | len(v)]) + b"".join(pack(k) + pack(x) for k, x in v.items())


def unpack(b):
    value, rest = _read(b, 0)
    if rest != len(b):
        raise ValueError("bytes after the message")
    return value


def _read(b, i):
    c = b[i]
    i += 1
    if c < 0x80:
        return c, i
    if c < 0x90:
        return _map(b, i, c & 15)
    if c < 0xa0:
        return _list(b, i, c & 15)
    if c < 0xc0:
        return b[i:i + (c & 31)].decode(), i + (c & 31)
    if c in (0xc2, 0xc3):
        return c == 0xc3, i
    sized = {0xc4: 1, 0xc5: 2, 0xc6: 4, 0xd9: 1, 0xda: 2, 0xdc: 2, 0xde: 2}
    if c in sized:
        n = int.from_bytes(b[i:i + sized[c]], "big")
        i += sized[c]
        if c == 0xdc:
            return _list(b, i, n)
        if c == 0xde:
            return _map(b, i, n)
        return (b[i:i + n] if c < 0xd0 else b[i:i + n].decode()), i + n
    forms = {0xca: ">f", 0xcb: ">d", 0xcc: ">B", 0xcd: ">H", 0xce: ">I", 0xcf: ">Q",
             0xd0: ">b", 0xd1: ">h", 0xd2: ">i", 0xd3: ">q"}
    form = forms.get(c)
    if form:
        return struct.unpack_from(form, b, i)[0], i + struct.calcsize(form)
    return c - 256, i


def _map(b, i, n):
    out = {}
    for _ in range(n):
        k, i = _read(b, i)
        out[k], i = _read(b, i)
    return out, i


def _list(b, i, n):
    out = []
    for _ in range(n):
        v, i = _read(b, i)
        out.append(v)
    return out, i


class Raw:
    """Requests of a device, one connection each: (status, message, headers)."""

    def __init__(self, device, certificate=True):
        self.device, self.port = device, device.lab.port
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        self.cookie = None
        if certificate:
            pem = device.lab.dir / f"raw{device.number}.pem"
            pem.write_bytes(_bytes(device.setting("cert")) + b"\n" +
                            _bytes(device.setting("key")))
            self.context.load_cert_chain(pem)

    def ask(self, method, path, body=None, headers=None):
        head = dict(headers or {})
        if self.cookie:
            head["Cookie"] = f"hearth={self.cookie}"
        c = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=100)
        try:
            c.request(method, path, body=body, headers=head)
            r = c.getresponse()
            data = r.read()
            kind = r.headers.get("Content-Type", "")
            return r.status, (unpack(data) if data and "msgpack" in kind else data), r.headers
        finally:
            c.close()

    def checkin(self):
        lab = self.device.lab
        status, m, _ = self.ask("POST", "/v1/checkin", pack(
            {"v": 1, "versions": [1], "base": bytes.fromhex(lab.shape["base_id"]),
             "tok": bytes.fromhex(lab.tokenizer), "tasks": []}))
        if status == 200:
            self.cookie = m["cookie"]
        return status, m

    def upload(self, offer, data):
        return Upload(self, offer, data)


def _bytes(v):
    return v.encode() if isinstance(v, str) else v


class Upload:
    def __init__(self, raw, offer, data):
        self.raw, self.offer, self.data = raw, offer, data
        self.path = "/v1/uploads/" + offer["token"].hex()

    def begin(self, data=None, length=None):
        data = self.data if data is None else data
        o = self.offer
        return self.raw.ask("POST", self.path, pack(
            {"v": 1, "round": o["round"], "cohort": o["cohort"], "stage": o["stage"],
             "length": len(data) if length is None else length,
             "sha": hashlib.sha256(data).digest(), "payload": o["space"]["payload"]}))

    def append(self, offset, data, path=None):
        return self.raw.ask("PATCH", path or self.path, data, {"Upload-Offset": str(offset)})

    def offset(self):
        status, _, headers = self.raw.ask("HEAD", self.path)
        return status, int(headers.get("Upload-Offset", -1))

    def commit(self, data=None):
        data = self.data if data is None else data
        return self.raw.ask("POST", self.path + "/commit",
                            pack({"v": 1, "sha": hashlib.sha256(data).digest()}))
