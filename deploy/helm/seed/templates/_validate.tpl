{{/* Refuses values that cannot work together, with what to change. */}}
{{- define "seed.validate" -}}
{{- $settings := .Values.settings }}
{{- $secrets := .Values.secretFiles }}
{{- $mode := default "proxy" $settings.OAUTH_MODE }}
{{- $auth := ne (toString $settings.AUTH_REQUIRED) "false" }}
{{- $several := gt (include "seed.maxReplicas" . | int) 1 }}
{{- if not .Values.baseUrl }}
{{- fail "baseUrl is required: the public URL of Seed, for example https://seed.example.com" }}
{{- end }}
{{- $url := urlParse .Values.baseUrl }}
{{- if or $url.query $url.fragment }}
{{- fail (printf "baseUrl %s must not have a query or a fragment" .Values.baseUrl) }}
{{- end }}
{{- if or (not (regexMatch "^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?$" $url.path)) (regexMatch "/mcp/?$" $url.path) }}
{{- fail (printf "baseUrl %s must be like https://seed.example.com or https://example.com/seed: the endpoint is baseUrl with /mcp behind it" .Values.baseUrl) }}
{{- end }}
{{- if and (ne $url.scheme "https") (not (regexMatch "^(localhost|127\\.0\\.0\\.1)(:[0-9]+)?$" $url.host)) }}
{{- fail (printf "baseUrl %s must be https, except on localhost" .Values.baseUrl) }}
{{- end }}
{{- if and $several (not $secrets.REDIS_URL) }}
{{- fail "more than one replica needs secretFiles.REDIS_URL: without Redis each has sessions and sign-ins of its own. Set it, or replicas: 1 without autoscaling" }}
{{- end }}
{{- if and $several $auth (not $secrets.SEED_SECRET) }}
{{- fail "more than one replica needs secretFiles.SEED_SECRET: without it each has keys of its own" }}
{{- end }}
{{- if and $auth (eq $mode "broker") $secrets.REDIS_URL (not $secrets.SEED_SECRET) }}
{{- fail "OAUTH_MODE broker with secretFiles.REDIS_URL needs secretFiles.SEED_SECRET" }}
{{- end }}
{{- if and $auth (not $settings.OIDC_ISSUER) }}
{{- fail "settings.OIDC_ISSUER is required: the issuer URL of the provider (or AUTH_REQUIRED: false, for a trial)" }}
{{- end }}
{{- if and $auth (eq $mode "proxy") (not $settings.OIDC_AUDIENCE) }}
{{- fail "OAUTH_MODE proxy needs settings.OIDC_AUDIENCE: the aud of the provider's access tokens" }}
{{- end }}
{{- if and $auth (eq $mode "broker") (not $settings.OIDC_CLIENT_ID) (not $settings.OIDC_AUDIENCE) }}
{{- fail "OAUTH_MODE broker needs settings.OIDC_CLIENT_ID: the ID of Seed's client at the provider" }}
{{- end }}
{{- if and $secrets.OIDC_CLIENT_SECRET $secrets.OIDC_CLIENT_KEY }}
{{- fail "secretFiles.OIDC_CLIENT_SECRET and secretFiles.OIDC_CLIENT_KEY are both set: keep one" }}
{{- end }}
{{- if and .Values.extensions.configMap $settings.SEED_EXTENSIONS }}
{{- fail "extensions.configMap and settings.SEED_EXTENSIONS are both set: keep one" }}
{{- end }}
{{- if lt (include "seed.terminationGracePeriodSeconds" . | int) (include "seed.shutdownSeconds" . | int) }}
{{- fail (printf "terminationGracePeriodSeconds must be at least shutdown.delaySeconds + shutdown.graceSeconds + 7 = %s: otherwise running calls are killed" (include "seed.shutdownSeconds" .)) }}
{{- end }}
{{- if and .Values.ingress.enabled .Values.httpRoute.enabled }}
{{- fail "ingress.enabled and httpRoute.enabled are both true: keep one" }}
{{- end }}
{{- if and (not $auth) (or .Values.ingress.enabled .Values.httpRoute.enabled) }}
{{- fail "AUTH_REQUIRED: false with ingress or httpRoute would let everyone call the tools: use kubectl port-forward for a trial" }}
{{- end }}
{{- if and (or .Values.ingress.enabled .Values.httpRoute.enabled) (not $settings.TRUST_PROXY) }}
{{- fail "settings.TRUST_PROXY is required with ingress or httpRoute: the addresses of the controller's pods, for example 10.0.0.0/8" }}
{{- end }}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) }}
{{- fail "httpRoute.parentRefs is required: the Gateway, for example [{name: public, namespace: gateways}]" }}
{{- end }}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.ingressFrom) }}
{{- fail "networkPolicy.ingressFrom is required: the pods of the ingress controller or gateway; otherwise nobody reaches Seed" }}
{{- end }}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) }}
{{- fail "autoscaling.minReplicas is more than autoscaling.maxReplicas" }}
{{- end }}
{{- $least := ternary .Values.autoscaling.minReplicas .Values.replicas .Values.autoscaling.enabled | int }}
{{- if and .Values.podDisruptionBudget.enabled (gt $least 1) (ge (int .Values.podDisruptionBudget.minAvailable) $least) }}
{{- fail (printf "podDisruptionBudget.minAvailable must be less than the %d replicas: otherwise no node can be drained" $least) }}
{{- end }}
{{- if and .Values.metrics.serviceMonitor.enabled (not .Values.metrics.enabled) }}
{{- fail "metrics.serviceMonitor.enabled needs metrics.enabled" }}
{{- end }}
{{- if and .Values.metrics.enabled (eq (int .Values.metrics.port) 3000) }}
{{- fail "metrics.port must not be 3000, the port of Seed itself" }}
{{- end }}
{{- range .Values.extraEnv }}
{{- if hasKey (include "seed.environment" $ | fromYaml) .name }}
{{- fail (printf "extraEnv must not contain %s: it has a value of its own in the chart" .name) }}
{{- end }}
{{- end }}
{{- end }}
