#!/bin/sh
# Writes the secrets that docker-compose.yml mounts into the folder `secrets` beside this file. Those that exist stay.
# Your provider's client secret is read from standard input:
#
#   sh create-secrets.sh
set -eu
cd "$(dirname "$0")"

# Other users of this machine cannot enter the folder. The files can be read by everyone, because the users in the
# containers are none of this machine's.
mkdir -p secrets
chmod 700 secrets
umask 333

# put NAME VALUE
put () {
  printf '%s' "$2" > "secrets/$1"
  echo "Wrote secrets/$1"
}

if [ ! -e secrets/seed_secret ]; then
  seed_secret=$(openssl rand -base64 32)
  put seed_secret "$seed_secret"
fi

if [ ! -e secrets/redis_url ] || [ ! -e secrets/redis_acl ]; then
  password=$(openssl rand -hex 32)
  hash=$(printf '%s' "$password" | openssl dgst -sha256 -r | cut -d ' ' -f 1)
  rm -f secrets/redis_url secrets/redis_acl
  put redis_url "redis://seed:$password@redis:6379"
  # The health check is the default user. With another REDIS_KEY_PREFIX, change both patterns.
  put redis_acl "user default on nopass resetkeys resetchannels -@all +ping
user seed on #$hash ~seed:* &seed:* +@all -@admin -@dangerous +info
"
fi

if [ ! -e secrets/oidc_client_secret ]; then
  if [ -t 0 ]; then printf 'Client secret at your provider (OIDC_CLIENT_SECRET): ' >&2; fi
  IFS= read -r secret || true
  if [ -z "$secret" ]; then
    echo 'secrets/oidc_client_secret is missing: the client secret was not given' >&2
    exit 1
  fi
  put oidc_client_secret "$secret"
fi
