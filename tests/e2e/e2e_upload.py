# SPDX-License-Identifier: Apache-2.0
"""Uploads that are replayed, altered, truncated, oversized, out of range or
under a wrong token: what a hand-made device can do to a round, and what it
counts for.  One honest device and one raw one make up the round."""
import os
import struct

from lab import Lab, expect
from raw import Raw, pack

with Lab("upload") as lab:
    lab.init().start()
    lab.task(count="2,2", rounds=2).ok()
    honest, liar, third = [d.ready() for d in lab.devices(3)]
    raw = Raw(liar)
    lab.served(raw)
    offer = raw.checkin()[1]["offers"][0]
    n = 4 * (offer["privacy"]["d"] + len(offer["privacy"]["coords"]))
    data = struct.pack(f"<{n // 4}i", *[(i * 7919) % 2001 - 1000 for i in range(n // 4)])
    other = data[:-4] + b"\0\0\0\0"
    up = raw.upload(offer, data)

    def refused(reply, status, reason):
        expect(reply[0] == status and reply[1]["reason"] == reason,
               f"wanted {status} with reason {reason}: {reply[:2]}")
        expect(set(reply[1]["retry"]) == {"a0", "a1", "r0", "r1"}, "errors carry a retry window too")

    UNKNOWN, OFFSET, DIGEST, ALTERED, RANGE, TOO_BIG, BAD, ABORTED = 4, 7, 8, 9, 10, 11, 1, 15
    asked_twice = raw.checkin()[1]["offers"]
    expect(asked_twice and asked_twice[0] == offer, "asking again gives the same offer and token")

    # Before begin, under other tokens, with other lengths, malformed.
    refused(up.append(0, data), 404, UNKNOWN)
    expect(up.commit()[0] in (404, 409), "no commit before begin")
    expect(raw.ask("PATCH", "/v1/uploads/" + "0" * 64, data, {"Upload-Offset": "0"})[0] == 404,
           "a token that was never given")
    expect(raw.ask("PATCH", "/v1/uploads/" + "0" * 62, data, {"Upload-Offset": "0"})[0] == 404,
           "half a token")
    expect(up.begin(length=n - 4)[0] in (400, 413), "another length than the offer's")
    expect(up.begin(length=n + 4)[0] in (400, 413), "another length than the offer's")
    refused(raw.ask("POST", up.path, b"\xde\xff\xff"), 400, BAD)
    refused(raw.ask("POST", up.path, b"\x91" * 1000), 413, TOO_BIG)
    expect(raw.ask("POST", up.path, b"x" * 1025)[0] == 413, "an oversized begin")

    # Truncated, then resumed at the offset that the coordinator tells.
    status, m, _ = up.begin()
    expect(status == 200 and m["offset"] == 0, (status, m))
    expect(raw.ask("PATCH", up.path, data[:100])[0] == 400, "an append without an offset")
    expect(up.append(0, data[:100])[1]["offset"] == 100, "100 bytes are there")
    refused(up.append(0, data), 409, OFFSET)
    refused(up.append(104, data[104:]), 409, OFFSET)
    refused(up.commit(), 409, OFFSET)
    expect(up.offset() == (200, 100), up.offset())
    expect(up.append(100, data[100:] + b"more")[0] == 413, "more than announced")
    expect(raw.ask("PATCH", up.path, b"x" * (1 << 20) + b"x", {"Upload-Offset": "100"})[0] == 413,
           "more than one append may have")
    expect(up.offset() == (200, 100), "refused bytes leave no trace")

    # Killed coordinator in between: the journal is the file.
    lab.kill()
    lab.start()
    expect(up.offset() == (200, 100), f"after a crash: {up.offset()}")
    status, m, _ = up.begin()
    expect(status == 200 and m["offset"] == 100, "begin again says where to go on")
    refused(up.begin(other), 409, ALTERED)

    # Altered bytes: found at commit, and the upload starts over.
    expect(up.append(100, other[100:])[0] == 200, "the altered rest is taken")
    refused(up.commit(other), 409, ALTERED)
    refused(up.commit(), 409, DIGEST)
    expect(up.offset() == (200, 0), f"the altered upload starts over: {up.offset()}")
    expect(up.append(0, data)[1]["offset"] == n, "all bytes are there")
    first = up.commit()
    expect(first[0] == 200 and first[1]["state"] == 1, first)

    # Replays: the same bytes get the same reply, other bytes are refused.
    again = up.commit()
    expect(again[:2] == first[:2], f"the same reply again: {again}")
    refused(up.commit(other), 409, ALTERED)
    refused(up.begin(other), 409, ALTERED)
    refused(up.append(0, data), 409, OFFSET)
    expect(up.begin()[1]["offset"] == n, "begin of a committed upload: nothing left to send")
    expect(up.offset() == (200, n), "as much as was announced")
    status, m, _ = raw.ask("POST", up.path + "/abort", pack({"v": 1, "reason": 5, "bucket": 1}))
    expect(status == 409, f"what is acknowledged can not be taken back: {status} {m}")
    expect("committed" in honest.sync().ok().kinds(), "the honest device is the second")
    expect(lab.released(1)[0]["counted"] == 2, "two were counted, once each")
    status, m, _ = up.append(0, data)
    expect(status in (409, 410), f"the round is over: {status} {m}")
    expect(up.commit()[0] == 200, "also after the round the same commit gets its reply")

    # Round two: coordinates out of range, then given up, then full.
    offer = raw.checkin()[1]["offers"][0]
    wild = struct.pack("<i", 2 ** 31 - 1) + data[4:]
    up = raw.upload(offer, wild)
    expect(up.begin()[0] == 200 and up.append(0, wild)[0] == 200, "wild bytes are taken")
    refused(up.commit(), 422, RANGE)
    refused(up.begin(), 410, ABORTED)
    raw3 = Raw(third)
    offer = raw3.checkin()[1]["offers"][0]
    up = raw3.upload(offer, data)
    expect(up.begin()[0] == 200, "the third begins")
    expect(raw3.ask("POST", up.path + "/abort", pack({"v": 1, "reason": 5, "bucket": 1}))[0] == 200,
           "and gives up")
    refused(up.append(0, data), 410, ABORTED)
    expect(not os.listdir(lab.coord / "state/spool/diary/1") if
           (lab.coord / "state/spool/diary/1").exists() else True, "round one left no bytes behind")
