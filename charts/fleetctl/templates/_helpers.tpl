{{/* Names of what is cluster-wide are fixed: one hub has one control plane, and a second one must collide. */}}

{{- define "fleetctl.labels" -}}
app.kubernetes.io/name: fleetctl
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "fleetctl.selector" -}}
app.kubernetes.io/name: fleetctl
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end }}

{{- define "fleetctl.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The accounts that are the controller, as a list in CEL. */}}
{{- define "fleetctl.controllers" -}}
{{- $own := printf "system:serviceaccount:%s:%s" .Release.Namespace .Values.serviceAccount.name -}}
{{- prepend .Values.controller.users $own | toJson -}}
{{- end }}

{{/* A file of several documents, with the labels of the release; takes the text and the root. */}}
{{- define "fleetctl.documents" -}}
{{- $labels := include "fleetctl.labels" .root | fromYaml -}}
{{- range splitList "\n---\n" .text }}
{{- $object := fromYaml . }}
{{- $_ := set $object.metadata "labels" (merge (dict) ($object.metadata.labels | default dict) $labels) }}
---
{{ toYaml $object }}
{{- end }}
{{- end }}

{{/* The security context of every container of ours. */}}
{{- define "fleetctl.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "fleetctl.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* Whether the definition of ManagedCluster is this release's to install. */}}
{{- define "fleetctl.installsManagedClusters" -}}
{{- $mode := .Values.crds.managedClusters -}}
{{- if eq $mode "always" -}}
yes
{{- else if eq $mode "auto" -}}
{{- $found := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "managedclusters.cluster.open-cluster-management.io" -}}
{{- if not $found -}}
yes
{{- else if eq (include "fleetctl.isOurs" (dict "object" $found "root" .)) "yes" -}}
yes
{{- else if and .Values.takeOver (eq (get ($found.metadata.labels | default dict) "app.kubernetes.io/name") "fleetctl") -}}
yes
{{- end -}}
{{- end -}}
{{- end }}

{{/* Whether an object on the hub is this release's. */}}
{{- define "fleetctl.isOurs" -}}
{{- $notes := .object.metadata.annotations | default dict -}}
{{- if and (eq (get $notes "meta.helm.sh/release-name") .root.Release.Name) (eq (get $notes "meta.helm.sh/release-namespace") .root.Release.Namespace) -}}
yes
{{- end -}}
{{- end }}

{{/* Who an object on the hub belongs to, in words. */}}
{{- define "fleetctl.owner" -}}
{{- $notes := .metadata.annotations | default dict -}}
{{- $labels := .metadata.labels | default dict -}}
{{- if get $notes "meta.helm.sh/release-name" -}}
release {{ get $notes "meta.helm.sh/release-name" | quote }} in namespace {{ get $notes "meta.helm.sh/release-namespace" | quote }}
{{- else if eq (get $labels "app.kubernetes.io/managed-by") "fleetctl-install" -}}
fleetctl install
{{- else -}}
somebody else
{{- end -}}
{{- end }}
