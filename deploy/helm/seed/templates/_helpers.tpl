{{- define "seed.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "seed.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "seed.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "seed.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "seed.selectorLabels" -}}
app.kubernetes.io/name: {{ include "seed.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "seed.labels" -}}
{{ include "seed.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "seed.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "seed.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "seed.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}
{{- end }}

{{- define "seed.host" -}}
{{- (urlParse .Values.baseUrl).host }}
{{- end }}

{{/* The replicas that there can be. */}}
{{- define "seed.maxReplicas" -}}
{{- if .Values.autoscaling.enabled }}{{ .Values.autoscaling.maxReplicas }}{{ else }}{{ .Values.replicas }}{{ end }}
{{- end }}

{{/* What a stop takes at most: 7 seconds are for connections (docs/deploy.md, rolling restarts). */}}
{{- define "seed.shutdownSeconds" -}}
{{- add .Values.shutdown.delaySeconds .Values.shutdown.graceSeconds 7 }}
{{- end }}

{{- define "seed.terminationGracePeriodSeconds" -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds -}}
{{ add (include "seed.shutdownSeconds" . | int) 5 }}
{{- else -}}
{{ .Values.terminationGracePeriodSeconds }}
{{- end }}
{{- end }}

{{/* The environment, as YAML. The keys are settings of Seed, but for NODE_EXTRA_CA_CERTS, which Node.js reads. */}}
{{- define "seed.environment" -}}
{{- $env := dict "PORT" "3000" "BASE_URL" .Values.baseUrl }}
{{- $_ := set $env "HOST" "0.0.0.0" }}
{{- $_ := set $env "SHUTDOWN_DELAY_SECONDS" (toString .Values.shutdown.delaySeconds) }}
{{- $_ := set $env "SHUTDOWN_GRACE_SECONDS" (toString .Values.shutdown.graceSeconds) }}
{{- range $name, $value := .Values.settings }}
{{- if kindIs "slice" $value }}
{{- $_ := set $env $name (toJson $value) }}
{{- else if kindIs "float64" $value }}
{{- $_ := set $env $name (printf "%.0f" $value) }}
{{- else }}
{{- $_ := set $env $name (toString $value) }}
{{- end }}
{{- end }}
{{- range $name, $_ := .Values.secretFiles }}
{{- $_ := set $env (printf "%s_FILE" $name) (printf "/run/secrets/seed/%s" $name) }}
{{- end }}
{{- if .Values.extensions.configMap }}
{{- $_ := set $env "SEED_EXTENSIONS" "/extensions" }}
{{- end }}
{{- if .Values.metrics.enabled }}
{{- $_ := set $env "METRICS_PORT" (toString .Values.metrics.port) }}
{{- /* Prometheus scrapes from another pod. */}}
{{- if not (hasKey $env "METRICS_HOST") }}
{{- $_ := set $env "METRICS_HOST" $env.HOST }}
{{- end }}
{{- end }}
{{- if .Values.privateCa.configMap }}
{{- $_ := set $env "NODE_EXTRA_CA_CERTS" "/etc/seed/ca/ca.crt" }}
{{- end }}
{{- toYaml $env }}
{{- end }}

{{/* The path of baseUrl without a slash at its end; empty without one. */}}
{{- define "seed.basePath" -}}
{{- (urlParse .Values.baseUrl).path | trimSuffix "/" }}
{{- end }}

{{/*
The paths of Seed, without /health: those of MCP and sign-in, and the short ones of clients that know no metadata. Below
a path of baseUrl they are all below it, but for the documents that clients look for outside (RFC 8414, RFC 9728).
*/}}
{{- define "seed.paths" -}}
{{- $path := include "seed.basePath" . }}
{{- if $path }}
- {{ $path }}
- /.well-known/oauth-protected-resource{{ $path }}
- /.well-known/oauth-authorization-server{{ $path }}
- /.well-known/openid-configuration{{ $path }}
{{- else }}
- /mcp
- /oauth
- /connections
- /.well-known
- /authorize
- /token
- /register
- /revoke
{{- end }}
{{- end }}
