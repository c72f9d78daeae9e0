# What the operator may do on Vault, for VaultJwtIntegrations of the default names: the mount `jwt-nomad`, and policies that begin
# with `nomad-workloads`. Every rule and every capability here is needed.
#
# The policy `default`, which tokens have unless they are made without it, adds what the operator does with its own token:
# auth/token/lookup-self, auth/token/renew-self and auth/token/revoke-self.
#
# For a mount at another path (`spec.path`): the five blocks of `jwt-nomad` once more, with that path. For other policies
# (`spec.policies`): the last block, with their names. Do not let it match this policy's own name, which would allow the operator
# to widen it: that is why it is not `nomad-*`.

# Which auth mounts there are, and their accessors.
path "sys/auth" {
  capabilities = ["read"]
}

# To enable the mount, and to disable it. Vault asks for sudo there.
path "sys/auth/jwt-nomad" {
  capabilities = ["update", "delete", "sudo"]
}

path "auth/jwt-nomad/config" {
  capabilities = ["read", "update"]
}

# Which roles the mount carries: it is not disabled while there are roles of others.
path "auth/jwt-nomad/role" {
  capabilities = ["list"]
}

path "auth/jwt-nomad/role/*" {
  capabilities = ["create", "read", "update", "delete"]
}

# How many tokens a deletion of the mount would revoke; without it the plan names no number.
path "sys/leases/lookup/auth/jwt-nomad/login" {
  capabilities = ["list", "sudo"]
}

# The templated policies of the workloads.
path "sys/policies/acl/nomad-workloads*" {
  capabilities = ["read", "update", "delete"]
}
