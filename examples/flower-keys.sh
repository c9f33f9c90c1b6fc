#!/usr/bin/env bash
# Makes the keys of a Flower deployment: a certificate for the SuperLink, and for every
# client's node a key pair and the secret of its noise (docs/privacy.md).
#
#     examples/flower-keys.sh FOLDER HOST CLIENTS
#
# HOST is the name or address under which nodes reach the SuperLink. Which file goes where: docs/security.md.
set -euo pipefail
if [ $# -ne 3 ] || [[ ! $3 =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: $0 FOLDER HOST CLIENTS" >&2
    exit 2
fi
folder=$1 host=$2 clients=$3
if [ -e "$folder" ]; then
    echo "$folder is there already" >&2
    exit 2
fi
umask 077 # private keys are for their owner alone
mkdir -p "$folder"
cd "$folder"
kind=DNS
[[ $host =~ ^[0-9.]+$ || $host == *:* ]] && kind=IP
new_key=(-newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes)

openssl req -x509 "${new_key[@]}" -days 365 -subj "/CN=airtune authority" -keyout ca.key -out ca.crt \
    -addext "keyUsage=critical,keyCertSign,cRLSign" 2>/dev/null
openssl req "${new_key[@]}" -subj "/CN=airtune SuperLink" -keyout superlink.key -out superlink.csr 2>/dev/null
# The SuperLink's own processes reach it on the loopback interface.
cat >extensions <<EXTENSIONS
subjectAltName=$kind:$host,DNS:localhost,IP:127.0.0.1
basicConstraints=critical,CA:false
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
EXTENSIONS
openssl x509 -req -in superlink.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -extfile extensions \
    -out superlink.crt 2>/dev/null
rm superlink.csr extensions ca.srl
for ((client = 0; client < clients; client++)); do
    ssh-keygen -q -t ecdsa -b 384 -N "" -C "airtune client $client" -f "node-$client"
    openssl rand -out "noise-$client.key" 64
done
ls
