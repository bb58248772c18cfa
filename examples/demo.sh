#!/bin/sh
# Start the sandbox, send the example receipts to it at 100/s, show what became of them; then orders from an export.
set -eu
[ $# -gt 0 ] || set -- sender
here=$(dirname "$0")
work=$(mktemp -d "${TMPDIR:-/tmp}/sender-demo.XXXXXX")
SENDER_API_KEY=sandbox-key; XDG_STATE_HOME=$work; export SENDER_API_KEY XDG_STATE_HOME

"$@" sandbox --port 0 --latency 20-80 > "$work/sandbox.out" 2> "$work/sandbox.err" &
sandbox=$!
trap 'kill $sandbox 2>/dev/null || true' EXIT INT TERM
tries=0
until url=$(sed -n 's/^sandbox listening on //p' "$work/sandbox.out") && [ -n "$url" ]; do
    tries=$((tries + 1))
    if [ $tries -gt 100 ] || ! kill -0 $sandbox 2>/dev/null; then
        cat "$work/sandbox.err" >&2; exit 1
    fi
    sleep 0.1
done
echo "The sandbox listens on $url. Sending $here/receipts.jsonl at 100/s."
echo
status=0
"$@" send "$here/receipts.jsonl" --base-url "$url" --outcomes "$work/receipts.outcomes.jsonl" \
    --reconcile-lag 3 || status=$?
echo
echo "Some receipts are wrong on purpose, so the exit status is $status. Why they were not sent:"
"$@" outcomes "$work/receipts.outcomes.jsonl" --status invalid,rejected,failed,in_doubt |
    sed 's/.*"source":"[^"]*","line":\([0-9]*\).*/\1 &/; s/^\([0-9]*\) .*"message":"\([^"]*\)".*/  line \1: \2/' | cut -c1-150
[ "$status" -eq 1 ]
echo
echo "The same from an export: $here/orders.csv by the mapping $here/receipt.json, each receipt with its invoice, and"
echo "nobody of $here/optouts.csv. First a look; then five go ahead as a canary, and the others follow."
echo
rows() {
    command=$1; shift
    "$@" "$command" "$here/orders.csv" --map "$here/receipt.json" --attachments "$here" --base-url "$url" \
        --exclude "$here/optouts.csv:email" --outcomes "$work/orders.outcomes.jsonl" $more
}
more="-n 1"; rows preview "$@" || true
echo
status=0
more="--canary 5 --canary-wait 1 --reconcile-lag 3"; rows send "$@" || status=$?
echo
echo "Three rows are wrong on purpose. To be repaired, they come back as they stood, with the reason:"
"$@" outcomes "$work/orders.outcomes.jsonl" --status invalid --rows "$here/orders.csv"
[ "$status" -eq 1 ]
echo
"$@" verify "$work/orders.run.json"
