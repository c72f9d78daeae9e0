{{/* What everything is called: the release, where its name tells already what it is. */}}
{{- define "nomad-access.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "nomad-access.selector" -}}
app.kubernetes.io/name: {{ include "nomad-access.name" . }}
{{- end }}

{{- define "nomad-access.labels" -}}
{{ include "nomad-access.selector" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "nomad-access.subjects" -}}
- kind: ServiceAccount
  name: {{ include "nomad-access.name" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}
