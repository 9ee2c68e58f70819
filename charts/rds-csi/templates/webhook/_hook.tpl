{{/* helm deletes kinds that it does not know last: at an uninstallation, or once the webhook is
switched off, it would leave for a moment a configuration whose service is gone. This hook has the
configuration's name: helm deletes what has it, makes this empty one, deletes that, and only then
begins with the rest. Rendered for clusters only, because whoever applies rendered manifests would
apply this one too. Takes root and event. */}}
{{- define "rds-csi.configurationHook" -}}
{{- $wanted := .root.Values.webhook.uninstallHook }}
{{- $asked := lookup "v1" "Namespace" "" "kube-system" }}
{{- if or (eq $wanted "always") (and $asked (eq $wanted "auto")) }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata:
  name: {{ include "rds-csi.webhookService" .root }}
  labels:
    {{- include "rds-csi.labels" (dict "root" .root "component" "webhook") | nindent 4 }}
  annotations:
    helm.sh/hook: {{ .event }}
    helm.sh/hook-weight: "0"
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
webhooks: []
{{- end }}
{{- end -}}
