{{/* Labels of every object. azure-workload-identity.io/system is upstream's. */}}
{{- define "labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
azure-workload-identity.io/system: "true"
{{- end }}

{{/* Labels that select a component's pods: (list . COMPONENT). They never change. */}}
{{- define "selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ $root.Chart.Name }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* Labels of a component's pods: (list . COMPONENT). Values add to them, and
     change none. app is upstream's: its instructions, and what others have made
     by them, find the webhook's pods by it. */}}
{{- define "podLabels" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- with omit $root.Values.podLabels "app" "azure-workload-identity.io/system" "app.kubernetes.io/name" "app.kubernetes.io/instance"
  "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "app.kubernetes.io/component" }}
{{- toYaml . }}
{{ end }}
{{- include "labels" $root }}
app.kubernetes.io/component: {{ $component }}
{{- if eq $component "webhook" }}
app: workload-identity-webhook
{{- end }}
{{- end }}

{{/* The agent's image. A digest wins over a tag. */}}
{{- define "image" -}}
{{- $tag := .Values.image.release | default .Chart.AppVersion -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ $tag }}
{{- end -}}
{{- end }}

{{/* What the pods of a component have in common: (list . COMPONENT). */}}
{{- define "pod" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
automountServiceAccountToken: true
enableServiceLinks: false
priorityClassName: {{ $root.Values.priorityClassName | quote }}
terminationGracePeriodSeconds: 30
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- with $root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{- if not .labelSelector }}
    labelSelector:
      matchLabels:
        {{- include "selector" (list $root $component) | nindent 8 }}
    {{- end }}
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* What the containers have in common. preStop: an API server or a kube-proxy
     goes on sending for a moment after a pod begins to end. */}}
{{- define "container" -}}
image: {{ include "image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop:
      - ALL
lifecycle:
  preStop:
    sleep:
      seconds: 5
startupProbe:
  httpGet:
    path: /healthz
    port: healthz
  periodSeconds: 1
  failureThreshold: 30
livenessProbe:
  httpGet:
    path: /healthz
    port: healthz
  periodSeconds: 20
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: /readyz
    port: healthz
  periodSeconds: 2
{{- end }}

{{/* The spread of a component over disruptions: (list . COMPONENT). */}}
{{- define "disruptionBudget" -}}
{{- $budget := (index . 0).Values.podDisruptionBudget -}}
{{- if kindIs "invalid" $budget.maxUnavailable }}
minAvailable: {{ $budget.minAvailable }}
{{- else }}
maxUnavailable: {{ $budget.maxUnavailable }}
{{- end }}
selector:
  matchLabels:
    {{- include "selector" . | nindent 4 }}
{{- end }}
