#!/bin/sh
# Ask a running vedette with curl: examples/curl.sh [ADDRESS [PICTURE.jpg]]
set -eu
address=${1:-http://127.0.0.1:8090}
picture=${2:-}

echo "# Are all models ready?"
curl -sS --fail "$address/healthz"
echo

echo "# Models"
curl -sS --fail "$address/v1/models"
echo

if [ -z "$picture" ]; then
  picture=$(mktemp)
  trap 'rm -f "$picture"' EXIT
  curl -sS --fail "$address/api/scene.jpg" -o "$picture"
fi

echo "# A question about a picture"
# The body goes through stdin, because a picture is too long for a command line.
{
  printf '{"messages":[{"role":"user","content":[{"type":"text","text":"What do you see?"},'
  printf '{"type":"image_url","image_url":{"url":"data:image/jpeg;base64,'
  base64 -w 0 <"$picture"
  printf '"}}]}],"max_tokens":100,"temperature":0}'
} | curl -sS --fail "$address/v1/chat/completions" -H "Content-Type: application/json" --data-binary @-
echo

echo "# A streamed answer: one line of JSON for each piece"
curl -sSN --fail "$address/v1/chat/completions" -H "Content-Type: application/json" -d \
  '{"messages":[{"role":"user","content":"Say hello."}],"max_tokens":20,"stream":true}'
