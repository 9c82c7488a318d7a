#!/bin/sh
# Starts a gateway without any file, calls it with curl and with the openai SDK, shows who spent what, and ends it.
# Needs comptroller, curl, and a python with the openai package on the PATH.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
books=$(mktemp -d)
cd "$books"
# A provider's key in the environment would be taken up and cost money; without one the provider is simulated.
unset OPENAI_API_KEY COMPTROLLER_CONFIG COMPTROLLER_ADMIN_TOKEN

comptroller serve --port 0 >said.txt 2>log.txt &
gateway=$!
trap 'kill "$gateway" 2>/dev/null || true; wait "$gateway" || true; rm -rf "$books"' EXIT
trap 'exit 130' INT TERM

until grep -q '^For MCP clients' said.txt; do
    kill -0 "$gateway" 2>/dev/null || { cat said.txt log.txt >&2; exit 1; }
    sleep 0.1
done
COMPTROLLER_URL=$(sed -n 's/^Comptroller serves at //p' said.txt)
export COMPTROLLER_URL
eval "$(grep '^  export ' said.txt)" # the admin token and one virtual key, as the gateway printed them

echo "== curl"
curl --silent --show-error --fail-with-body "$COMPTROLLER_URL/v1/chat/completions" \
    --header "Authorization: Bearer $COMPTROLLER_API_KEY" \
    --header "Content-Type: application/json" \
    --data '{"model": "sim-small", "messages": [{"role": "user", "content": "Say hello. [words:12]"}]}'
echo

echo "== openai SDK"
python "$here/chat.py"

echo "== who spent what"
comptroller usage --by user,model
comptroller audit verify
