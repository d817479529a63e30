#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Federated fine-tuning on this machine, every part of it real: a coordinator
# with TLS on loopback, 16 devices that are processes of their own, 5 rounds.
#
#   sh deploy/demo.sh
#
# Variables: HEARTH_DEMO_BUILD   a finished build folder, instead of building
#            HEARTH_DEMO_MODEL   another base model than deploy/demo/model
#            HEARTH_DEMO_ROUNDS  fewer or more rounds than task.ini says
#            HEARTH_DEMO_JOBS    devices at work at a time (default: cores, 2 to 4)
# Task and policy are in deploy/demo/task.ini and policy.ini.
set -eu
repo=$(cd "$(dirname "$0")/.." && pwd)
devices=16
train_lines=80 # records of a device, of which it keeps a fifth back itself
hold_lines=20  # records that only measure
model=${HEARTH_DEMO_MODEL:-$repo/deploy/demo/model}
cores=$(nproc 2>/dev/null || echo 2)
[ "$cores" -lt 2 ] && cores=2
[ "$cores" -gt 4 ] && cores=4
jobs=${HEARTH_DEMO_JOBS:-$cores}

# ---- what must not stay behind ------------------------------------------------
work=
server=
pids= # of device processes that run now
clean_up() {
    trap '' INT TERM HUP
    trap - EXIT
    for p in $pids $server; do kill "$p" 2>/dev/null || true; done
    for p in $pids $server; do wait "$p" 2>/dev/null || true; done
    [ -z "$work" ] || rm -rf "$work"
}
stop() {
    bar_end
    echo "demo: stopped, everything is put away" >&2
    clean_up
    exit "$1"
}
trap clean_up EXIT
trap 'stop 130' INT
trap 'stop 143' TERM HUP

die() {
    bar_end
    echo "demo: $1" >&2
    [ -z "${2:-}" ] || tail -n 20 "$2" >&2
    exit 1
}

# ---- output -------------------------------------------------------------------
say() { printf '%s\n' "$*"; }
wrap() { fold -s -w 88 | sed 's/ *$//'; }
tty=
[ -t 1 ] && [ "${TERM:-dumb}" != dumb ] && tty=1
# bar TEXT DONE OF: one line that is drawn over; nothing off a terminal.
bar() {
    [ -n "$tty" ] || return 0
    printf '\r\033[K  %-44s %2d of %d' "$1" "$2" "$3"
}
bar_end() { [ -z "$tty" ] || printf '\r\033[K'; }
# field NAME: its value in each JSON line of stdin that has it.
field() { sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p"; }

# ---- many processes, a few at a time ------------------------------------------
n_running=0
start() { # LOG COMMAND...
    start_log=$1
    shift
    "$@" >"$start_log" 2>&1 &
    pids="$pids $!"
    n_running=$((n_running + 1))
}
finish() { # wait for all that were started; false when one failed
    finish_ok=0
    for p in $pids; do wait "$p" || finish_ok=1; done
    pids=
    n_running=0
    return $finish_ok
}
# each TEXT FUNCTION: FUNCTION starts device $d, for each device of $todo.
each() {
    each_done=0
    each_of=$(echo "$todo" | wc -w)
    each_ok=0
    for d in $todo; do
        bar "$1" $each_done "$each_of"
        "$2"
        each_done=$((each_done + 1))
        [ $n_running -lt "$jobs" ] || finish || each_ok=1
    done
    finish || each_ok=1
    bar "$1" "$each_done" "$each_of"
    return $each_ok
}

# ---- build --------------------------------------------------------------------
build() {
    sh "$repo/deploy/install-deps.sh" || exit $?
    say "Building (preset release) in build/release; the first time takes a few minutes."
    cd "$repo"
    cmake --preset release >"$work/build.log" 2>&1 || die "cmake failed:" "$work/build.log"
    if [ -n "$tty" ]; then
        cmake --build --preset release --target hearth_cli hearthd diary_generator
    else
        cmake --build --preset release --target hearth_cli hearthd diary_generator \
            >"$work/build.log" 2>&1 || die "the build failed:" "$work/build.log"
    fi
    programs=$repo/build/release
}

# ---- coordinator --------------------------------------------------------------
start_coordinator() {
    "$hearthd" init --dir "$work/coord" --host 127.0.0.1 --listen 127.0.0.1:0 --json \
        >"$work/init" 2>"$work/log" || die "hearthd init failed:" "$work/log"
    root=$(field root <"$work/init")
    # Devices of the demo come back at once, not after minutes.
    cat >"$ini" <<END
[server]
listen = 127.0.0.1:0
state = state
shutdown_grace = 1s
[rounds]
retry_accepted = 1ms,20ms
retry_refused = 10ms,50ms
disk_reserve_mb = 16
END
    : >"$work/ready"
    "$hearthd" serve -c "$ini" --json >"$work/ready" 2>"$work/hearthd.log" &
    server=$!
    tries=0
    until port=$(field port <"$work/ready") && [ -n "$port" ]; do
        kill -0 "$server" 2>/dev/null || die "hearthd did not start:" "$work/hearthd.log"
        tries=$((tries + 1))
        [ $tries -lt 200 ] || die "hearthd is not ready after 20 s:" "$work/hearthd.log"
        sleep 0.1
    done
}
create_task() {
    rounds=${HEARTH_DEMO_ROUNDS:-$(sed -n 's/^rounds = //p' "$repo/deploy/demo/task.ini")}
    "$hearth" model inspect --model "$model" --json >"$work/model" || die "no base model"
    {
        sed "s/^rounds = .*/rounds = $rounds/" "$repo/deploy/demo/task.ini"
        printf '\n[base]\nid = %s\n' "$(field base_id <"$work/model")"
        printf 'tokenizer = %s\n' "$(sha256sum "$model/tokenizer.json" | cut -c1-64)"
        for key in layers:layers hidden:hidden_size heads:heads kv_heads:kv_heads \
            head_dim:head_dim ffn:ffn_size; do
            printf '%s = %s\n' "${key%%:*}" "$(field "${key##*:}" <"$work/model")"
        done
    } >"$work/task.ini"
    "$hearthd" task create -c "$ini" -f "$work/task.ini" --json >"$work/task" \
        2>"$work/log" || die "hearthd task create failed:" "$work/log"
    dimension=$(field d <"$work/task")
    noise=$(field z <"$work/task")
    delta=$(sed -n 's/^delta = //p' "$work/task.ini")
}

# ---- devices ------------------------------------------------------------------
# A phone on its charger: what a device reads of its power and warmth.
make_phone() {
    mkdir -p "$work/sys/class/power_supply/battery" "$work/sys/class/thermal/thermal_zone0"
    echo Battery >"$work/sys/class/power_supply/battery/type"
    echo 90 >"$work/sys/class/power_supply/battery/capacity"
    echo Charging >"$work/sys/class/power_supply/battery/status"
    echo 30000 >"$work/sys/class/thermal/thermal_zone0/temp"
}
enrol() {
    token=$("$hearthd" token create -c "$ini" --json | field token)
    start "$work/log.$d" "$hearth" init --server "https://127.0.0.1:$port" --token "$token" \
        --root "$root" --base "$model" --state "$work/d$d"
}
import() {
    cp "$repo/deploy/demo/policy.ini" "$work/d$d/policy.ini"
    "$generator" person --seed 1 --person "$d" --lines $train_lines --split train \
        >"$work/d$d.train.jsonl"
    "$generator" person --seed 1 --person "$d" --lines $hold_lines --split holdout \
        >"$work/d$d.hold.jsonl"
    start "$work/log.$d" "$hearth" records import "$work/d$d.train.jsonl" \
        --consent federated --state "$work/d$d" --json
}
sync() {
    start "$work/sync.$d" "$hearth" sync --once --state "$work/d$d" --sys "$work/sys" \
        --threads 1 --json
}
measure() {
    start "$work/eval.$d" "$hearth" eval --model "$model" --adapter \
        "$work/d$d/adapters/diary" --data "$work/d$d.hold.jsonl" --threads 1 --json
}
# Sets loss: the mean over devices of their hold-out loss under the release that
# each has installed.  The devices write it down here; nobody sends it.
hold_out_loss() {
    todo=$everyone
    each "$1" measure || die "hearth eval failed:" "$work/eval.0"
    loss=$(for d in $everyone; do field loss <"$work/eval.$d"; done |
        awk '{s += $1} END {printf "%.4f", s / NR}')
}

# ---- a round ------------------------------------------------------------------
# cycle TEXT EVENT: sync each device until its log tells of EVENT.
cycle() {
    todo=$everyone
    tries=0
    while [ -n "$todo" ]; do
        each "$1" sync || true
        left=
        for d in $todo; do
            grep -q "\"kind\":\"$2\"" "$work/sync.$d" || left="$left $d"
        done
        todo=$left
        tries=$((tries + 1))
        [ $tries -lt 20 ] || die "devices$todo got nowhere; the first says:" \
            "$work/sync.$(echo "$todo" | awk '{print $1}')"
    done
}
wait_for_release() { # of round $1
    tries=0
    until "$hearthd" round list diary -c "$ini" --json |
        grep -q "\"round\":$1,\"phase\":\"released\""; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || die "round $1 was not released:" "$work/hearthd.log"
        sleep 0.1
    done
}
accountant() { # ROUNDS DEVICES
    "$hearth" privacy task --noise "$noise" --rounds "$1" --devices "$2" \
        --dimension "$dimension" --delta "$delta" --json
}
row() { # ROUND BEFORE AFTER
    counted=$("$hearthd" round list diary -c "$ini" --json | grep "\"round\":$1," | field counted)
    accountant "$1" "$counted" >"$work/epsilon"
    bar_end
    awk -v r="$1" -v n="$counted" -v b="$2" -v a="$3" \
        -v s="$(field noise_to_signal <"$work/epsilon")" \
        -v c="$(field epsilon_coordinator <"$work/epsilon")" \
        -v e="$(field epsilon_release <"$work/epsilon")" \
        'BEGIN {printf "%5d  %7d  %8.3f  %7.3f  %9.2f  %19.2f  %15.2f\n", r, n, b, a, s, c, e}'
}
# What `hearth sync` says of the policy it was given.
say_policy() {
    bar_end
    say "Their policy is the default for idle phones on a charger, loosened for the demo:"
    sed -n 's/.*the policy is loosened: /  /p' "$work/sync.0"
    say "The caps of epsilon_coordinator stay: 10 for a task and in 30 days."
    say
}
table_head() {
    say "                hold-out loss     noise-to-"
    say "round  devices    before    after     signal  epsilon_coordinator  epsilon_release"
    say "-----  -------  --------  -------  ---------  -------------------  ---------------"
}
run_rounds() {
    r=1
    while [ $r -le $((rounds + 1)) ]; do
        # What the last round made is installed by the check-in of the next one.
        if [ $r -le "$rounds" ]; then
            cycle "round $r: train, clip, add noise, send" committed
            [ $r -gt 1 ] || { say_policy && table_head; }
            wait_for_release $r
        else
            cycle "fetch the last release" installed
        fi
        hold_out_loss "measure the hold-out on the devices"
        [ $r -eq 1 ] || row $((r - 1)) "$before" "$loss"
        before=$loss
        r=$((r + 1))
    done
}

# ---- what came of it ----------------------------------------------------------
number() { field "$1" <"$2" | awk -v f="$3" '{printf f, $1}'; }
explain() {
    accountant "$rounds" "$devices" >"$work/few"
    accountant "$rounds" 1000 >"$work/many"
    few=$(number epsilon_release_exact "$work/few" %.1f)
    many=$(number epsilon_release_exact "$work/many" %.2f)
    few_ledger=$(number epsilon_release "$work/few" %.1f)
    many_ledger=$(number epsilon_release "$work/many" %.2f)
    say "epsilon_coordinator does not depend on the number of devices; at 1,000 devices" \
        "epsilon_release falls from about $few to $many (exact; the table's zCDP bound from" \
        "$few_ledger to $many_ledger) and the noise-to-signal from about" \
        "$(number noise_to_signal "$work/few" %.1f) to $(number noise_to_signal "$work/many" %.1f);" \
        "$devices synthetic devices show the machinery." | wrap
}
answer() { # NAME FLAGS...: two draws, the same two seeds for every adapter
    answer_name=$1
    shift
    for seed in 4 5; do
        "$hearth" generate --model "$model" "$@" --prompt "$prompt" --max-tokens 32 \
            --temperature 1 --seed $seed >"$work/answer" 2>"$work/answer.log" ||
            die "hearth generate failed:" "$work/answer.log"
        text=$(tr '\n' ' ' <"$work/answer" | sed 's/^ *//;s/ *$//')
        say "  $answer_name $text" | wrap
    done
}

# How much likelier the adapter makes what device 0's person wrote to this prompt.
own_answer() {
    grep -F "\"$prompt\"" "$work/d0.hold.jsonl" | head -n 1 >"$work/own.jsonl"
    [ -s "$work/own.jsonl" ] || return 0
    for of in base adapter; do
        flags="--adapter $adapter"
        [ $of = adapter ] || flags=
        # shellcheck disable=SC2086
        "$hearth" eval --model "$model" $flags --data "$work/own.jsonl" --json >"$work/own.$of"
    done
    times=$(awk -v b="$(field loss <"$work/own.base")" -v a="$(field loss <"$work/own.adapter")" \
        -v n="$(field tokens <"$work/own.base")" 'BEGIN {
            t = exp((b - a) * n)
            if (t >= 1e9) printf "over a billion times as likely as"
            else if (t >= 1e6) printf "%.1f million times as likely as", t / 1e6
            else if (t >= 1e3) printf "%.0f thousand times as likely as", t / 1e3
            else if (t >= 1) printf "%.1f times as likely as", t
            else printf "less likely than"
        }')
    say "  person   $(sed 's/.*"completion": "//; s/"}$//' "$work/own.jsonl")" | wrap
    say "           (held out; to the adapter $times to the base)"
}

main() {
    work=$(mktemp -d "${TMPDIR:-/tmp}/hearth_demo.XXXXXX")
    programs=${HEARTH_DEMO_BUILD:-}
    [ -n "$programs" ] || build
    hearth=$programs/client/cli/hearth
    hearthd=$programs/coordinator/hearthd
    generator=${HEARTH_DEMO_GENERATOR:-$programs/deploy/demo/diary_generator}
    ini=$work/coord/hearthd.ini
    began=$(date +%s)
    everyone=$(seq 0 $((devices - 1)))

    start_coordinator
    create_task
    make_phone
    say "A coordinator with TLS on 127.0.0.1:$port, its root key pinned by $devices devices;"
    say "each is a process with a diary of its own that never leaves it ($train_lines records)."
    todo=$everyone
    each "enrol: key, one-time token, certificate" enrol || die "hearth init failed:" "$work/log.0"
    each "put the diary into the record store" import || die "the import failed:" "$work/log.0"
    bar_end
    run_rounds
    say "loss: nats a token, the mean over devices, each on entries that it kept back"
    say "epsilon: after so many rounds, at delta $delta, replace-one, the unit is a device"
    say
    explain
    say
    prompt="Log: Tell me of your steps."
    say "In its general text people walk and count steps; in these diaries they stroll and"
    say "count paces. The base model and the adapter of round $rounds, two draws each:"
    say "  asked    $prompt"
    answer "base    "
    adapter=$work/d0/adapters/diary
    answer "adapter " --adapter "$adapter"
    own_answer
    seconds=$(($(date +%s) - began))
    clean_up
    say
    say "Done, $seconds s after the build; nothing is left of it."
}
main
