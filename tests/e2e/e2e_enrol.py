# SPDX-License-Identifier: Apache-2.0
"""Joining: wrong pins, wrong, used and expired tokens, lost replies, keys in
the way, revoked and erased devices, a coordinator with another TLS key."""
import shutil
import socket
import ssl

from lab import Lab, expect
from raw import Raw, pack

with Lab("enrol") as lab:
    lab.init().start()
    a, b, c, d, e = lab.devices(5)

    # A root pin that is not the coordinator's: nothing is sent, no token used.
    token = lab.token()
    wrong = "sha256//" + "A" * 43 + "="
    a.join(token=token, root=wrong).failed("root")
    a.join(token=token, root="sha256//short").failed()
    a.join(token=token).ok()
    expect(a.setting("device") is not None, "a has an id")

    # A token serves once; joining again with it is harmless for its owner.
    b.join(token=token).failed("token")
    a.join(token=token).ok()
    expect(len(lab.ctl("device", "list").ok().of("device")) == 1, "one device is enrolled")

    # Never issued, no token at all, expired.
    b.join(token="hearth-" + "0" * 64).failed("token")
    b.join(token="swordfish").failed("token")
    b.join(token=lab.token("--expires", "0s")).failed("expired")
    b.join(token=lab.token("--uses", "2")).ok()

    # The reply is lost after the certificate was issued: the same one again.
    token = lab.token()
    c.join(token=token, env={"HEARTH_FAILPOINT": "enroll.before_store"})
    before = lab.ctl("device", "list").ok().of("device")
    expect(c.setting("device") is None, "c died before it stored its certificate")
    c.join(token=token).ok()
    after = lab.ctl("device", "list").ok().of("device")
    expect(before == after and len(after) == 3, f"no second device for c: {after}")

    # Garbage at the enrolment door.
    raw = Raw(a)
    for body, want in ((b"", 400), (b"\xc1", 400), (pack({"v": 1, "token": "x"}), 400),
                       (b"\xdf\x0f\xff\xff\xff", 400), (b"\x91" * 8000, 413)):
        status, m, _ = raw.ask("POST", "/v1/enroll", body)
        expect(status == want and m["message"], f"{body[:8]}: {status} {m}")
        status, m, _ = raw.ask("POST", "/v1/checkin", body)
        expect(status == want and m["message"], f"check-in {body[:8]}: {status} {m}")
    status, _, _ = raw.ask("POST", "/v1/enroll", b"x" * 8193)
    expect(status == 413, f"oversized: {status}")
    status, _, _ = Raw(a, certificate=False).ask("POST", "/v1/renew", pack({"v": 1, "csr": "x"}))
    expect(status == 401, f"renewal without a certificate: {status}")
    status, m = Raw(a, certificate=False).checkin()
    expect(status == 401 and m["reason"] == 3, f"check-in without a certificate: {status} {m}")

    # Old and weak TLS is refused; every good suite is taken.
    def shake(suite, newest=ssl.TLSVersion.TLSv1_2):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = newest
        context.set_ciphers(suite + ":@SECLEVEL=0")
        with socket.create_connection(("127.0.0.1", lab.port), timeout=100) as plain:
            try:
                with context.wrap_socket(plain) as tls:
                    return tls.cipher()[0]
            except (ssl.SSLError, ConnectionError):
                return None
    for suite in ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
                  "ECDHE-ECDSA-CHACHA20-POLY1305"):
        expect(shake(suite) == suite, f"{suite} is refused")
    for suite in ("ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "ECDHE-ECDSA-AES256-CCM8"):
        expect(shake(suite) is None, f"{suite} is taken")
    expect(shake("ALL", ssl.TLSVersion.TLSv1_1) is None, "TLS 1.1 is taken")

    # One that gets an error and then says nothing is not waited for.
    with socket.create_connection(("127.0.0.1", lab.port), timeout=100) as plain:
        tls = raw.context.wrap_socket(plain)
        tls.sendall(b"NONSENSE\r\n\r\n")
        reply = b""
        while piece := tls.recv(4096):
            reply += piece
        expect(reply.startswith(b"HTTP/1.1 400"), reply)
        with socket.socket(fileno=tls.detach()) as rest:
            rest.settimeout(20)
            expect(rest.recv(1) == b"", "the connection is closed")

    # Revoked and erased devices are refused at once, also in what they do.
    lab.task().ok()
    lab.served(Raw(c))
    held = Raw(a)
    status, m = held.checkin()
    expect(status == 200 and m["offers"], f"a may check in and has an offer: {status} {m}")
    offer = m["offers"][0]
    up = held.upload(offer, b"\0" * 4 * (offer["privacy"]["d"] + len(offer["privacy"]["coords"])))
    expect(up.begin()[0] == 200, "a may begin")
    release = "/v1/releases/diary/1/manifest"
    expect(held.ask("GET", release)[0] == 200, "a may read releases")
    lab.ctl("device", "revoke", a.setting("device").decode()).ok()
    lab.ctl("device", "erase", b.setting("device").decode()).ok()
    for x, why in ((a, "revoked"), (b, "erased")):
        status, m = Raw(x).checkin()
        expect(status == 401 and m["reason"] == 3, f"{why}: {status} {m}")
    expect(held.ask("GET", release)[0] == 401, "its cookie and certificate are worth nothing")
    status, m, _ = up.append(0, up.data)
    expect(status == 410 and m["reason"] == 15, f"its upload token is dead: {status} {m}")
    expect(Raw(c).checkin()[0] == 200, "c is untouched")
    cookie = Raw(c)
    expect(cookie.checkin()[0] == 200 and cookie.cookie, "c has a cookie")
    alone = Raw(c, certificate=False)
    alone.cookie = cookie.cookie[:-1] + ("0" if cookie.cookie[-1] != "0" else "1")
    expect(alone.ask("GET", "/v1/releases/diary/1/manifest")[0] in (401, 403), "altered cookie")

    # Another server at the same address: its TLS key is not in the keyset.
    lab.stop()
    keys = lab.coord / "keys"
    shutil.copytree(keys, lab.dir / "keys")
    other = lab.dir / "other"
    from lab import run
    run([lab.hearthd, "init", "--dir", other, "--host", "127.0.0.1"]).ok()
    (keys / "tls.key").unlink()
    shutil.copy(other / "keys/tls.key", keys)
    shutil.copy(other / "keys/tls.pem", keys)
    lab.start(wait=False)
    expect(lab.process.wait(timeout=100) == 1, "serve refuses a TLS key that the keyset lacks")
    lab.process.stdout.close()
    lab.process = None
    shutil.copy(other / "keys/keyset.bin", keys)
    shutil.copy(other / "keys/release.key", keys)
    shutil.copy(other / "keys/device_ca.key", keys)
    shutil.copy(other / "keys/device_ca.pem", keys)
    lab.start()
    done = c.sync()
    expect("checkin" not in done.kinds(), f"c talks to a stranger: {done.out}")
    expect(c.add_records().rc == 0, "c is still sound")
    d.join(token=lab.token()).failed("root")
