# The operator as a job of the Nomad that it manages: two replicas, of which one acts. README.md beside this file says what
# has to be there before.

variable "nomad_address" {
  type        = string
  default     = "http://127.0.0.1:4646"
  description = "Nomad's HTTP API as the replicas reach it, and the only address that a token is sent to."
}

variable "auth_method" {
  type        = string
  default     = "nomad-access"
  description = "JWT auth method that the replicas log in by, with their workload identity. Empty: a management token from the variable nomad/jobs/nomad-access."
}

variable "program" {
  type        = string
  default     = "/usr/local/lib/node_modules/nomad-access-operator/dist/nomad-access.js"
  description = "Where the operator is installed on the clients."
}

variable "state" {
  type        = string
  default     = "nomad-access/default"
  description = "Path of the Nomad Variables that hold the inventory and the lock."
}

variable "replicas" {
  type    = number
  default = 2
}

job "nomad-access" {
  type = "service"

  group "operator" {
    count = var.replicas

    # On two nodes where there are two.
    spread {
      attribute = "${node.unique.id}"
    }

    update {
      max_parallel     = 1
      min_healthy_time = "5s"
    }

    # It gives up only when what it was told is wrong; trying again costs nothing.
    restart {
      attempts = 3
      interval = "1m"
      delay    = "5s"
      mode     = "delay"
    }

    network {
      port "http" {}
    }

    service {
      name     = "nomad-access"
      provider = "nomad"
      port     = "http"

      check {
        name     = "alive"
        type     = "http"
        path     = "/healthz"
        interval = "10s"
        timeout  = "2s"

        check_restart {
          limit = 3
          grace = "30s"
        }
      }

      # A replica that cannot reach Nomad or Vault is unready: that must not hold a deployment up.
      check {
        name      = "ready"
        type      = "http"
        path      = "/readyz"
        interval  = "10s"
        timeout   = "2s"
        on_update = "ignore"
      }
    }

    task "run" {
      driver = "raw_exec"

      config {
        command = "node"
        args = [
          var.program, "run",
          "--source", "directory",
          "-f", "${NOMAD_TASK_DIR}/manifests",
          "--state", "nomad:${var.state}",
          "--allow-address", var.nomad_address,
          "--listen", "${NOMAD_ADDR_http}",
        ]
      }

      # It finishes what it has begun, saves, and hands the lock over.
      kill_signal  = "SIGTERM"
      kill_timeout = "30s"

      # Who it is, for the login. Nomad renews the file.
      identity {
        name        = "operator"
        aud         = ["nomad"]
        file        = true
        ttl         = "1h"
        change_mode = "noop"
      }

      # Without an auth method, a management token. A job may read the variable of its own name without any policy.
      dynamic "template" {
        for_each = var.auth_method == "" ? ["token"] : []
        content {
          destination = "${NOMAD_SECRETS_DIR}/nomad-token"
          perms       = "0600"
          change_mode = "restart"
          data        = <<-EOT
            {{ with nomadVar "nomad/jobs/nomad-access" }}{{ .token }}{{ end }}
          EOT
        }
      }

      # The connection that we log in to, and the one that the inventory is kept through.
      template {
        destination = "${NOMAD_TASK_DIR}/manifests/connection.yaml"
        change_mode = "restart"
        data        = <<-EOT
          apiVersion: nomad-access.io/v1alpha1
          kind: NomadCluster
          metadata:
            name: default
          spec:
            address: ${var.nomad_address}
            auth:
              ${var.auth_method == "" ? "tokenFile: {{ env \"NOMAD_SECRETS_DIR\" }}/nomad-token" : "jwt: { method: ${var.auth_method}, tokenFile: '{{ env \"NOMAD_SECRETS_DIR\" }}/nomad_operator.jwt' }"}
        EOT
      }

      # What is declared. It follows the variable without a restart.
      template {
        destination = "${NOMAD_TASK_DIR}/manifests/declared.yaml"
        change_mode = "noop"
        data        = <<-EOT
          {{ with nomadVar "nomad/jobs/nomad-access/operator" }}{{ .manifests }}{{ end }}
        EOT
      }

      resources {
        cpu    = 200
        memory = 256
      }
    }
  }
}
