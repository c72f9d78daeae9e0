{{/* The operator's right to resources, in all namespaces or in one. */}}
{{- define "nomad-access.rules" -}}
- apiGroups: [nomad-access.io]
  resources:
    - aclauthmethods
    - aclbindingrules
    - aclpolicies
    - aclroles
    - acltokens
    - vaultjwtintegrations
    - vaultnomadroles
    - vaultnomadsecretsengines
  verbs: [list, watch, patch]
- apiGroups: [nomad-access.io]
  resources:
    - aclauthmethods/status
    - aclbindingrules/status
    - aclpolicies/status
    - aclroles/status
    - acltokens/status
    - vaultjwtintegrations/status
    - vaultnomadroles/status
    - vaultnomadsecretsengines/status
  verbs: [patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
- apiGroups: ['']
  resources: [secrets]
  verbs: [get, list, watch, create, patch, delete]
{{- end }}
