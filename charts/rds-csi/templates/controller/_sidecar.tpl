{{/* Where each sidecar listens, in the pod that they share with the driver. */}}
{{- define "rds-csi.sidecarPorts" -}}
csi-provisioner: 8081
csi-attacher: 8082
csi-resizer: 8083
{{- end -}}

{{/* One container of the Kubernetes project beside the driver. Takes root, name, values and
args of its own. */}}
{{- define "rds-csi.sidecar" -}}
{{- $election := .root.Values.sidecars.leaderElection -}}
{{- $port := get (include "rds-csi.sidecarPorts" . | fromYaml) .name | int -}}
- name: {{ .name }}
  image: {{ include "rds-csi.image" (dict "root" .root "image" .values.image) }}
  imagePullPolicy: {{ .values.image.pullPolicy }}
  args:
    - --csi-address=/csi/csi.sock
    - "--http-endpoint=:{{ $port }}"
    - --leader-election
    - "--leader-election-namespace={{ .root.Release.Namespace }}"
    - "--leader-election-lease-duration={{ $election.leaseDuration }}"
    - "--leader-election-renew-deadline={{ $election.renewDeadline }}"
    - "--leader-election-retry-period={{ $election.retryPeriod }}"
    - "--kube-api-qps={{ .values.kubeApiQps }}"
    - "--kube-api-burst={{ .values.kubeApiBurst }}"
    - "--timeout={{ .values.timeout }}"
    - "--retry-interval-max={{ .values.retryIntervalMax }}"
    {{- range .args }}
    - {{ . }}
    {{- end }}
    - "--v={{ .root.Values.sidecars.verbosity }}"
  ports:
    - name: {{ trimPrefix "csi-" .name }}
      containerPort: {{ $port }}
  {{- include "rds-csi.startupProbe" (dict "port" (trimPrefix "csi-" .name) "path" "/healthz/leader-election") | nindent 2 }}
  # A leader that could not renew and still runs is restarted.
  livenessProbe:
    httpGet: {path: /healthz/leader-election, port: {{ trimPrefix "csi-" .name }}}
    periodSeconds: 20
    timeoutSeconds: 10
  resources:
    {{- toYaml .values.resources | nindent 4 }}
  securityContext:
    {{- include "rds-csi.restricted" .root | nindent 4 }}
  volumeMounts:
    - {name: socket, mountPath: /csi}
{{- end -}}
