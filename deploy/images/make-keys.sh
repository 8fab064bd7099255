#!/usr/bin/env bash
# make-keys.sh DIR CLIENT_DIR NAME: a certificate for the host NAME with its key, and a token, into DIR, unless they
# are there. What clients need, the certificate and the token, is copied into CLIENT_DIR.
set -euo pipefail
umask 077
directory=$1 client=$(realpath -- "$2") host=$3
cd "$directory"
if [[ ! -s token ]]; then
  openssl rand -hex 32 >token.new
  mv token.new token
fi
if [[ ! -s cert.pem ]] || ! openssl x509 -in cert.pem -noout -checkend 2592000 >/dev/null; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 825 -subj "/CN=$host" \
    -addext "subjectAltName=DNS:$host,DNS:localhost,IP:127.0.0.1" -keyout key.pem.new -out cert.pem.new 2>/dev/null
  mv key.pem.new key.pem
  mv cert.pem.new cert.pem
fi
for name in cert.pem token; do
  cp "$name" "$client/$name.new"
  mv "$client/$name.new" "$client/$name"
done
