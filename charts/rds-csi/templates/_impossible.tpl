{{/* What cannot be, where a schema could not say why: sentences, as a JSON list. The numbers of a
class may be strings too, as they are in the class. */}}
{{- define "rds-csi.impossible" -}}
{{- $said := list -}}
{{- $port := int .Values.controller.adminPort -}}
{{- range $name, $taken := include "rds-csi.sidecarPorts" . | fromYaml -}}
{{- if eq $port (int $taken) -}}
{{- $said = append $said (printf "controller.adminPort is %d, where %s of the same pod listens: it takes another port, such as --set controller.adminPort=9808" $port $name) -}}
{{- end -}}
{{- end -}}
{{- $known := .Files.Get "files/parameters.yaml" | fromYaml -}}
{{- range $class := .Values.storageClasses -}}
{{- range $key, $value := $class.parameters -}}
{{- with get $known.numbers $key -}}
{{- $least := index . 0 | int64 -}}
{{- $most := index . 1 | int64 -}}
{{- $number := kindIs "string" $value | ternary (toString $value | atoi | int64) (int64 $value) -}}
{{- if or (lt $number $least) (gt $number $most) -}}
{{- $said = append $said (printf "parameter %s of the class %s in storageClasses is %d: it takes a number from %d to %d" $key $class.name $number $least $most) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $said | toJson -}}
{{- end -}}
