{{/* Names, labels and the pieces that several components share. */}}

{{- define "rds-csi.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Never changed after the first release: a workload's selector cannot be. */}}
{{- define "rds-csi.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "rds-csi.ownLabels" -}}
{{ include "rds-csi.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Takes root, component, and more where an object has labels that others have not. */}}
{{- define "rds-csi.labels" -}}
{{ include "rds-csi.ownLabels" . }}
{{- with merge (dict) (.more | default dict) .root.Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "rds-csi.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (.image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* What a container without privileges gets; the pod adds the user. */}}
{{- define "rds-csi.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "rds-csi.unprivilegedPod" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Liveness is not asked about for two minutes at most, until it is there: what is slow to start
does not hang. Takes port, and host or path where they are not the usual. */}}
{{- define "rds-csi.startupProbe" -}}
startupProbe:
  httpGet:
    path: {{ .path | default "/healthz" }}
    port: {{ .port }}
    {{- with .host }}
    host: {{ . | quote }}
    {{- end }}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 60
{{- end -}}

{{/* Where a component's pods may run. */}}
{{- define "rds-csi.scheduling" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Replicas of one component keep apart where the cluster has room, and start anyway where
it has not. */}}
{{- define "rds-csi.spread" -}}
topologySpreadConstraints:
  {{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "rds-csi.selector" $ | nindent 8 }}
    # Pods of one revision: a rollout must not count those it replaces.
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end -}}

{{- define "rds-csi.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The identity of this cluster on the device. A cluster that is asked has one by itself;
without one (helm template, a pipeline) it must be a value, because a guess would be another
owner for the same volumes. */}}
{{- define "rds-csi.clusterId" -}}
{{- if .Values.clusterId -}}
{{- .Values.clusterId -}}
{{- else -}}
{{- dig "metadata" "uid" "" (lookup "v1" "Namespace" "" "kube-system") -}}
{{- end -}}
{{- end -}}

{{/* Says everything that is missing or cannot be at once. */}}
{{- define "rds-csi.required" -}}
{{- $missing := list -}}
{{- if not .Values.device.address -}}
{{- $missing = append $missing "device.address is not set: it takes the host name or IP address of the device's SSH service, such as --set device.address=10.0.0.2" -}}
{{- end -}}
{{- if not .Values.device.hostKeys -}}
{{- $missing = append $missing "device.hostKeys is not set: it takes the public keys by which the device proves itself, as ssh-keyscan shows them without the name, such as --set 'device.hostKeys={ssh-ed25519 AAAA...}'" -}}
{{- end -}}
{{- if not .Values.device.sshKeySecret.name -}}
{{- $missing = append $missing (printf "device.sshKeySecret.name is not set: it takes the name of a Secret in namespace %s with the user's private key, made by `kubectl create secret generic rds-ssh --namespace %s --from-file=%s=id_ed25519`, such as --set device.sshKeySecret.name=rds-ssh" .Release.Namespace .Release.Namespace .Values.device.sshKeySecret.key) -}}
{{- end -}}
{{- if not .Values.device.nvmeAddress -}}
{{- $missing = append $missing "device.nvmeAddress is not set: it takes the device's IP address on the storage network, where nodes connect by NVMe/TCP, such as --set device.nvmeAddress=10.0.1.2" -}}
{{- end -}}
{{- if not .Values.device.volumePath -}}
{{- $missing = append $missing "device.volumePath is not set: it takes the directory of the backing files, on a pool that /file print shows, such as --set device.volumePath=/pool/rds-csi" -}}
{{- end -}}
{{- if not (include "rds-csi.clusterId" .) -}}
{{- $missing = append $missing "clusterId is not set and no cluster can be asked: it takes the UID of the namespace kube-system, such as --set clusterId=$(kubectl get namespace kube-system -o jsonpath='{.metadata.uid}')" -}}
{{- end -}}
{{- $images := list "driver" -}}
{{- if .Values.webhook.enabled -}}
{{- $images = append $images "webhook" -}}
{{- end -}}
{{- range $images -}}
{{- if not (get $.Values.image .).repository -}}
{{- $missing = append $missing (printf "image.%s.repository is not set: it takes the registry and name to which you pushed what hack/image built, since no image is published, such as --set image.%s.repository=registry.example/storage/rds-csi-%s" . . .) -}}
{{- end -}}
{{- end -}}
{{- if .Values.webhook.enabled -}}
{{- if eq .Values.webhook.certificates.mode "provided" -}}
{{- if not .Values.webhook.certificates.provided.secretName -}}
{{- $missing = append $missing (printf "webhook.certificates.provided.secretName is not set: in mode provided it takes the name of a Secret in namespace %s with tls.crt and tls.key, such as --set webhook.certificates.provided.secretName=our-tls" .Release.Namespace) -}}
{{- end -}}
{{- if not .Values.webhook.certificates.provided.caBundle -}}
{{- $missing = append $missing "webhook.certificates.provided.caBundle is not set: in mode provided it takes the PEM certificate of the CA that signed tls.crt, such as --set-file webhook.certificates.provided.caBundle=ca.crt" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with concat $missing (include "rds-csi.impossible" . | fromJsonArray) -}}
{{- fail (printf "\n\nThe chart cannot be rendered:\n- %s\n" (join "\n- " .)) -}}
{{- end -}}
{{- end -}}

{{/* Names of the storage classes whose claims are of this driver, as a JSON list: those of the
chart, those given, and those that the cluster has at the time of helm install or upgrade. */}}
{{- define "rds-csi.classNames" -}}
{{- $names := .Values.extraStorageClasses -}}
{{- range .Values.storageClasses -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- range (lookup "storage.k8s.io/v1" "StorageClass" "" "").items -}}
{{- if eq .provisioner $.Values.driverName -}}
{{- $names = append $names .metadata.name -}}
{{- end -}}
{{- end -}}
{{- $names | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/* CEL: the class that a claim names, "" for none. The annotation is older than the field and
Kubernetes still reads it first. */}}
{{- define "rds-csi.cel.class" -}}
{{- $annotation := "volume.beta.kubernetes.io/storage-class" -}}
(has({{ . }}.metadata.annotations) && '{{ $annotation }}' in {{ . }}.metadata.annotations) ? {{ . }}.metadata.annotations['{{ $annotation }}'] : (has({{ . }}.spec.storageClassName) ? {{ . }}.spec.storageClassName : '')
{{- end -}}

{{/* CEL: whether any of some fields differs between an object and what it was; `fields` has for each
what an absent one counts as, and `below` what they are fields of, such as .spec. */}}
{{- define "rds-csi.cel.differs" -}}
{{- $said := list -}}
{{- range $field, $absent := .fields -}}
{{- $path := printf "%s.%s" $.below $field -}}
{{- $said = append $said (printf "(has(object%s) ? object%s : %s) != (has(oldObject%s) ? oldObject%s : %s)" $path $path $absent $path $path $absent) -}}
{{- end -}}
{{- join " || " $said -}}
{{- end -}}

{{/* Whether to render what needs a kind of another project: always, never, or where the cluster
has it. */}}
{{- define "rds-csi.wanted" -}}
{{- if or (eq .mode "always") (and (eq .mode "auto") (.root.Capabilities.APIVersions.Has .kind)) -}}
true
{{- end -}}
{{- end -}}

{{/* Where kubelet finds the plugin, on a node. */}}
{{- define "rds-csi.kubeletEndpoint" -}}
{{- printf "%s/plugins/%s/csi.sock" .Values.node.kubeletDir .Values.driverName -}}
{{- end -}}

{{- define "rds-csi.webhookService" -}}
{{ include "rds-csi.fullname" . }}-webhook
{{- end -}}

{{/* The Secret with the webhook's certificate. Each mode has another: helm takes that of mode self
away with it, and touches none that cert-manager or a person made. */}}
{{- define "rds-csi.webhookSecret" -}}
{{- if eq .Values.webhook.certificates.mode "provided" -}}
{{- .Values.webhook.certificates.provided.secretName -}}
{{- else if eq .Values.webhook.certificates.mode "certManager" -}}
{{- include "rds-csi.fullname" . }}-webhook-cert-manager
{{- else -}}
{{- include "rds-csi.fullname" . }}-webhook-tls
{{- end -}}
{{- end -}}

{{- /* How strictly the attachment rules are held, by the webhook and by the driver alike. */}}
{{- define "rds-csi.ruleModes" -}}
- "--rule-mode=same-machine={{ .Values.attachments.rules.sameMachine }}"
- "--rule-mode=node-loss={{ .Values.attachments.rules.nodeLoss }}"
{{- end }}

{{/* YAML 1.1, which helm reads, takes a plain off for false. */}}
{{- define "rds-csi.fencing" -}}
{{- .Values.attachments.fencing | default "off" -}}
{{- end -}}
