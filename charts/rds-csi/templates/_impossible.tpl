{{/* What cannot be, where a schema could not say why: sentences, as a JSON list. The numbers of a
class may be strings too, as they are in the class. */}}
{{- define "rds-csi.impossible" -}}
{{- $said := list -}}
{{- /* What a Service can be named before Kubernetes 1.36. */}}
{{- $name := include "rds-csi.fullname" . -}}
{{- if not (regexMatch "^[a-z]([a-z0-9-]*[a-z0-9])?$" $name) -}}
{{- $said = append $said (printf "the objects would be named %s, after the release: Services take lower-case letters, digits and dashes, and a letter first; give the release another name, or set fullnameOverride" $name) -}}
{{- end -}}
{{- $port := int .Values.controller.adminPort -}}
{{- range $name, $taken := include "rds-csi.sidecarPorts" . | fromYaml -}}
{{- if eq $port (int $taken) -}}
{{- $said = append $said (printf "controller.adminPort is %d, where %s of the same pod listens: it takes another port, such as --set controller.adminPort=9808" $port $name) -}}
{{- end -}}
{{- end -}}
{{- /* A key that is given twice makes no object. */}}
{{- $own := include "rds-csi.ownLabels" (dict "root" . "component" "any") | fromYaml -}}
{{- $labels := dict "labels" .Values.labels "monitoring.labels" .Values.monitoring.labels "monitoring.dashboard.labels" .Values.monitoring.dashboard.labels -}}
{{- range $value, $given := $labels -}}
{{- range $key, $_ := $given -}}
{{- if hasKey $own $key -}}
{{- $said = append $said (printf "%s has %s: it takes labels of other names, since the chart gives that one itself" $value $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- /* A socket's name has room for no more. */}}
{{- $socket := include "rds-csi.kubeletEndpoint" . -}}
{{- if gt (len $socket) 100 -}}
{{- $said = append $said (printf "node.kubeletDir is %s: with driverName, which is %s, it takes what makes a path of 100 bytes or less, and %s has %d" .Values.node.kubeletDir .Values.driverName $socket (len $socket)) -}}
{{- end -}}
{{- range list "impossibleClasses" "impossibleDurations" "changed" -}}
{{- $said = concat $said (include (printf "rds-csi.%s" .) $ | fromJsonArray) -}}
{{- end -}}
{{- $said | toJson -}}
{{- end -}}

{{/* The same of classes: what the driver would refuse each of their claims for. */}}
{{- define "rds-csi.impossibleClasses" -}}
{{- $said := list -}}
{{- $known := .Files.Get "files/parameters.yaml" | fromYaml -}}
{{- $base := trimPrefix "/" .Values.device.volumePath -}}
{{- $device := regexReplaceAll "^\\[(.*)\\].*$|^([0-9.]+):[0-9]+$" .Values.device.address "${1}${2}" -}}
{{- $seen := list -}}
{{- range $class := .Values.storageClasses -}}
{{- $fs := $class.fsType | default "ext4" -}}
{{- $options := concat $known.mountOptions.common (get $known.mountOptions $fs) -}}
{{- range $option := $class.mountOptions | join "," | splitList "," -}}
{{- if not (has (trim $option) (append $options "")) -}}
{{- $said = append $said (printf "mountOptions of the class %s in storageClasses has %s: with %s it takes %s" $class.name (trim $option) $fs (join ", " $options)) -}}
{{- end -}}
{{- end -}}
{{- $parameters := $class.parameters | default dict -}}
{{- with get $parameters "volumePath" -}}
{{- if and $base (not (hasPrefix (printf "%s/" $base) (printf "%s/" (trimPrefix "/" .)))) -}}
{{- $said = append $said (printf "parameter volumePath of the class %s in storageClasses is %s: it takes device.volumePath, which is /%s, or a directory below it" $class.name . $base) -}}
{{- end -}}
{{- end -}}
{{- with get $parameters "rdsAddress" -}}
{{- /* Two IPv6 addresses may be one in two spellings, and a name may be any. */}}
{{- if and (ne . $device) (regexMatch "^[0-9.]+$|:" $device) (or (contains "." .) (contains "." $device)) -}}
{{- $said = append $said (printf "parameter rdsAddress of the class %s in storageClasses is %s: it takes the address of device.address, which is %s; leave it out" $class.name . $device) -}}
{{- end -}}
{{- end -}}
{{- if has $class.name $seen -}}
{{- $said = append $said (printf "storageClasses has the class %s more than once: each takes a name of its own" $class.name) -}}
{{- end -}}
{{- $seen = append $seen $class.name -}}
{{- $numbers := dict -}}
{{- range $key, $value := $class.parameters -}}
{{- with get $known.numbers $key -}}
{{- $least := index . 0 | int64 -}}
{{- $most := index . 1 | int64 -}}
{{- $number := kindIs "string" $value | ternary (toString $value | atoi | int64) (int64 $value) -}}
{{- $_ := set $numbers $key $number -}}
{{- if or (lt $number $least) (gt $number $most) -}}
{{- $said = append $said (printf "parameter %s of the class %s in storageClasses is %d: it takes a number from %d to %d" $key $class.name $number $least $most) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (hasKey $numbers "fastIoFailTmo") (hasKey $numbers "ctrlLossTmo") -}}
{{- $fast := get $numbers "fastIoFailTmo" -}}
{{- $loss := get $numbers "ctrlLossTmo" -}}
{{- /* -1 is never. */}}
{{- if and (ne $loss -1) (ge $fast $loss) -}}
{{- $said = append $said (printf "parameter fastIoFailTmo of the class %s in storageClasses is %d: it takes less than ctrlLossTmo, which is %d" $class.name $fast $loss) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $said | toJson -}}
{{- end -}}

{{/* The same of durations that the programs would refuse as they start. */}}
{{- define "rds-csi.impossibleDurations" -}}
{{- $said := list -}}
{{- $ranges := list
  (list "device.commandTimeout" .Values.device.commandTimeout "1s" "5m")
  (list "node.connectTimeout" .Values.node.connectTimeout "1s" "5m")
  (list "monitoring.interval" .Values.monitoring.interval "1s" "24h")
-}}
{{- range $name := list "provisioner" "attacher" "resizer" -}}
{{- $sidecar := get $.Values.sidecars $name -}}
{{- range $key := list "timeout" "retryIntervalMax" -}}
{{- $ranges = append $ranges (list (printf "sidecars.%s.%s" $name $key) (get $sidecar $key) "1s" "24h") -}}
{{- end -}}
{{- end -}}
{{- $election := .Values.sidecars.leaderElection -}}
{{- range $key, $value := $election -}}
{{- $ranges = append $ranges (list (printf "sidecars.leaderElection.%s" $key) $value "1s" "24h") -}}
{{- end -}}
{{- $certificates := .Values.webhook.certificates -}}
{{- $self := $certificates.self -}}
{{- $managed := $certificates.certManager -}}
{{- if eq $certificates.mode "self" -}}
{{- $ranges = concat $ranges (list
  (list "webhook.certificates.self.leafLifetime" $self.leafLifetime "45s" "8760h")
  (list "webhook.certificates.self.caLifetime" $self.caLifetime "135s" "87600h")
  (list "webhook.certificates.self.caLeadTime" $self.caLeadTime "1s" "24h")
) -}}
{{- else if eq $certificates.mode "certManager" -}}
{{- $ranges = concat $ranges (list
  (list "webhook.certificates.certManager.duration" $managed.duration "1h" "87600h")
  (list "webhook.certificates.certManager.renewBefore" $managed.renewBefore "5m" "87600h")
) -}}
{{- end -}}
{{- range $ranges -}}
{{- $value := include "rds-csi.seconds" (index . 1) | atoi -}}
{{- $least := include "rds-csi.seconds" (index . 2) | atoi -}}
{{- $most := include "rds-csi.seconds" (index . 3) | atoi -}}
{{- if or (lt $value $least) (gt $value $most) -}}
{{- $said = append $said (printf "%s is %s: it takes %s to %s" (index . 0) (index . 1) (index . 2) (index . 3)) -}}
{{- end -}}
{{- end -}}
{{- if eq $certificates.mode "self" -}}
{{- $leaf := include "rds-csi.seconds" $self.leafLifetime | atoi -}}
{{- if lt (include "rds-csi.seconds" $self.caLifetime | atoi) (mul 3 $leaf | int) -}}
{{- $said = append $said (printf "webhook.certificates.self.caLifetime is %s: it takes three times leafLifetime, which is %s, or more" $self.caLifetime $self.leafLifetime) -}}
{{- end -}}
{{- if gt (mul 6 (include "rds-csi.seconds" $self.caLeadTime | atoi) | int) $leaf -}}
{{- $said = append $said (printf "webhook.certificates.self.caLeadTime is %s: it takes a sixth of leafLifetime, which is %s, or less" $self.caLeadTime $self.leafLifetime) -}}
{{- end -}}
{{- else if eq $certificates.mode "certManager" -}}
{{- if ge (include "rds-csi.seconds" $managed.renewBefore | atoi) (include "rds-csi.seconds" $managed.duration | atoi) -}}
{{- $said = append $said (printf "webhook.certificates.certManager.renewBefore is %s: it takes less than duration, which is %s" $managed.renewBefore $managed.duration) -}}
{{- end -}}
{{- end -}}
{{- if ge (include "rds-csi.seconds" $election.renewDeadline | atoi) (include "rds-csi.seconds" $election.leaseDuration | atoi) -}}
{{- $said = append $said (printf "sidecars.leaderElection.renewDeadline is %s: it takes less than leaseDuration, which is %s" $election.renewDeadline $election.leaseDuration) -}}
{{- end -}}
{{- if le (mul 10 (include "rds-csi.seconds" $election.renewDeadline | atoi) | int) (mul 12 (include "rds-csi.seconds" $election.retryPeriod | atoi) | int) -}}
{{- $said = append $said (printf "sidecars.leaderElection.retryPeriod is %s: renewDeadline, which is %s, takes more than 1.2 times that" $election.retryPeriod $election.renewDeadline) -}}
{{- end -}}
{{- $said | toJson -}}
{{- end -}}

{{/* What volumes and nodes go by, where this release runs already with another: a cluster is asked.
Without one nothing is known. */}}
{{- define "rds-csi.changed" -}}
{{- $said := list -}}
{{- $flags := dict
  "--cluster-id" (list "clusterId" (include "rds-csi.clusterId" .) "its volumes on the device are marked with that one, and no other cluster may touch them")
  "--driver-name" (list "driverName" .Values.driverName "its PersistentVolumes carry that one")
  "--nqn-prefix" (list "nqnPrefix" .Values.nqnPrefix "its volumes are offered under names that begin with that one")
  "--state-dir" (list "node.stateDir" .Values.node.stateDir "its nodes keep there which volumes they watch and connect again")
-}}
{{- range $component, $kind := dict "controller" "Deployment" "node" "DaemonSet" -}}
{{- $selector := include "rds-csi.selector" (dict "root" $ "component" $component) | fromYaml -}}
{{- range (lookup "apps/v1" $kind $.Release.Namespace "").items -}}
{{- if eq (toJson $selector) (toJson .spec.selector.matchLabels) -}}
{{- range $argument := (first .spec.template.spec.containers).args -}}
{{- $parts := splitn "=" 2 $argument -}}
{{- with get $flags $parts._0 -}}
{{- if ne (index . 1) $parts._1 -}}
{{- $said = append $said (printf "%s is %s, and was %s when this release was made: it never changes, since %s; --set %s=%s" (index . 0) (index . 1) $parts._1 (index . 2) (index . 0) $parts._1) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $said | uniq | toJson -}}
{{- end -}}

{{/* A duration of values.yaml, such as 1h30m, in whole seconds. */}}
{{- define "rds-csi.seconds" -}}
{{- $hours := regexFind "[0-9]+h" . | trimSuffix "h" | default "0" | atoi -}}
{{- $minutes := regexFind "[0-9]+m" . | trimSuffix "m" | default "0" | atoi -}}
{{- $seconds := regexFind "[0-9]+s" . | trimSuffix "s" | default "0" | atoi -}}
{{- add (mul 3600 $hours) (mul 60 $minutes) $seconds -}}
{{- end -}}
