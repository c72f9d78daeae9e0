# What the operator may do on Vault for AclTokens whose secret goes to a KV engine (`writeSecretTo.vaultKv`), beside nomad-access.hcl
# and under a name of its own: `vault policy write nomad-access-sinks token-sinks.hcl`. Write your own mounts and paths in place of
# `secret`, `kv` and `ci`, and take away the half that you have no engine for. Every capability here is needed.
#
# Keep to paths that hold nothing else. The operator overwrites and deletes only what it wrote, but in version 1 it can't tell that
# from a token of the same two items that somebody put in its place.

# Version 2, mounted at `secret`. Writes name the version that they replace.
path "secret/data/ci/*" {
  capabilities = ["create", "read", "update"]
}

# To mark the secret as the operator's in custom_metadata, and to delete it with all its versions.
path "secret/metadata/ci/*" {
  capabilities = ["read", "update", "delete"]
}

# Version 1, mounted at `kv`.
path "kv/ci/*" {
  capabilities = ["create", "read", "update", "delete"]
}
