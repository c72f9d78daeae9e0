# What the operator may do on Vault, for resources of the default names: VaultJwtIntegrations with the mount `jwt-nomad`, and
# policies that begin with `nomad-workloads`; and, from the second half on, VaultNomadSecretsEngines with the mount `nomad`. Every rule
# and every capability here is needed. Take away what you have no resources for.
#
# The policy `default`, which tokens have unless they are made without it, adds what the operator does with its own token:
# auth/token/lookup-self, auth/token/renew-self and auth/token/revoke-self.
#
# For a mount at another path (`spec.path`): the blocks of `jwt-nomad`, or of `nomad`, once more, with that path. For other policies
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

# Which secrets engines there are, and their accessors.
path "sys/mounts" {
  capabilities = ["read"]
}

# To enable the engine, and to disable it.
path "sys/mounts/nomad" {
  capabilities = ["update", "delete"]
}

# The management token of Nomad that is handed over there can't be read back.
path "nomad/config/access" {
  capabilities = ["create", "read", "update"]
}

path "nomad/config/lease" {
  capabilities = ["read", "update"]
}

# Which roles the engine carries: it is not disabled while there are roles of others.
path "nomad/role" {
  capabilities = ["list"]
}

path "nomad/role/*" {
  capabilities = ["create", "read", "update", "delete"]
}

# How many leases a deletion of the engine would revoke; without it the plan names no number.
path "sys/leases/lookup/nomad/creds" {
  capabilities = ["list", "sudo"]
}

path "sys/leases/lookup/nomad/creds/*" {
  capabilities = ["list", "sudo"]
}

# To revoke them before the engine goes.
path "sys/leases/revoke-prefix/nomad/creds" {
  capabilities = ["update", "sudo"]
}
