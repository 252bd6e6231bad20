{{/* The webhook's variables: the data of azure-wi-webhook-config. */}}
{{- define "webhookConfig" -}}
{{- include "checkValues" . -}}
AZURE_TENANT_ID: {{ required "azureTenantID is required: the tenant of the cluster's identities" .Values.azureTenantID | quote }}
AZURE_ENVIRONMENT: {{ .Values.azureEnvironment | quote }}
{{- if .Values.proxyImage }}
PROXY_IMAGE: {{ .Values.proxyImage | quote }}
PROXY_INIT_IMAGE: {{ .Values.proxyInitImage | quote }}
{{- else }}
LANYARD_AGENT_IMAGE: {{ include "image" . | quote }}
{{- end }}
{{- if .Values.tokenProxy.enabled }}
AZURE_KUBERNETES_TOKEN_PROXY: https://lanyard-token-proxy.{{ .Release.Namespace }}.svc
LANYARD_TOKEN_PROXY_CA_CONFIGMAP: lanyard-token-proxy-ca
{{- else }}
{{- with .Values.customTokenEndpoint }}
{{- if .annotationSuffix }}
AZURE_KUBERNETES_TOKEN_PROXY: {{ .azureKubernetesTokenProxy | quote }}
AZURE_KUBERNETES_SNI_NAME: {{ .azureKubernetesSniName | quote }}
AZURE_KUBERNETES_CA_DATA: {{ .azureKubernetesCaData | quote }}
AZURE_KUBERNETES_CA_CONFIGMAP_NAME: {{ .azureKubernetesCAConfigMapName | quote }}
AZURE_KUBERNETES_CA_CTB_SIGNER_NAME: {{ .azureKubernetesCACTBSignerName | quote }}
{{- with .azureKubernetesCACTBLabelSelector }}
AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR: {{ kindIs "string" . | ternary . (toJson .) | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.lanyard }}
{{- if .caBundle }}
LANYARD_CA_FILE: /lanyard/ca.crt
LANYARD_AUTHORITY: {{ join "," .authority | quote }}
LANYARD_AUTHORITY_HOST: {{ .authorityHost | quote }}
LANYARD_ADDRESS: {{ .address | quote }}
LANYARD_HOSTS: {{ join "," .hosts | quote }}
LANYARD_TRUST: {{ join "," .trust | quote }}
{{- end }}
{{- if .agentsURL }}
LANYARD_AGENTS_URL: {{ .agentsURL | quote }}
LANYARD_CLUSTER_ID: {{ .clusterID | quote }}
LANYARD_TOKEN_FILE: /var/run/secrets/lanyard/token
{{- end }}
{{- end }}
{{- end }}

{{/* What values may not say together. */}}
{{- define "checkValues" -}}
{{- if and .Values.tokenProxy.enabled .Values.customTokenEndpoint.annotationSuffix -}}
{{- fail "tokenProxy and customTokenEndpoint exclude each other: there is one token endpoint in a cluster" -}}
{{- end -}}
{{- if ne (empty .Values.customTokenEndpoint.annotationSuffix) (empty .Values.customTokenEndpoint.audience) -}}
{{- fail "customTokenEndpoint.annotationSuffix and customTokenEndpoint.audience go together" -}}
{{- end -}}
{{- if hasPrefix "mcr.microsoft.com/oss/azure/workload-identity/" .Values.image.repository -}}
{{- fail (printf "image.repository %s is upstream's webhook: leave image.repository and image.release out, or name the agent's" .Values.image.repository) -}}
{{- end -}}
{{- if ne (empty .Values.proxyImage) (empty .Values.proxyInitImage) -}}
{{- fail "proxyImage and proxyInitImage go together" -}}
{{- end -}}
{{- if ne (empty .Values.lanyard.agentsURL) (empty .Values.lanyard.clusterID) -}}
{{- fail "lanyard.agentsURL and lanyard.clusterID go together" -}}
{{- end -}}
{{- if and .Values.lanyard.agentsURL (not .Values.lanyard.caBundle) -}}
{{- fail "lanyard.agentsURL needs lanyard.caBundle: the authority by which the cloud is known" -}}
{{- end -}}
{{- if hasKey .Values.podLabels "azure.workload.identity/use" -}}
{{- fail "podLabels has azure.workload.identity/use: the webhook's own pods never need the webhook" -}}
{{- end -}}
{{- end }}

{{- define "webhookMounts" -}}
{{- if .Values.certificate.secretName }}
- name: cert
  mountPath: /certs
  readOnly: true
{{- end }}
{{- if .Values.lanyard.caBundle }}
- name: lanyard-ca
  mountPath: /lanyard
  readOnly: true
{{- end }}
{{- if .Values.lanyard.agentsURL }}
- name: lanyard-token
  mountPath: /var/run/secrets/lanyard
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "webhookVolumes" -}}
{{- if .Values.certificate.secretName }}
- name: cert
  secret:
    secretName: {{ .Values.certificate.secretName }}
{{- end }}
{{- if .Values.lanyard.caBundle }}
- name: lanyard-ca
  configMap:
    name: lanyard-ca
{{- end }}
{{- if .Values.lanyard.agentsURL }}
# The proof by which the cloud knows the agent. Its audience is worth nothing at
# a token endpoint.
- name: lanyard-token
  projected:
    sources:
      - serviceAccountToken:
          path: token
          audience: api://lanyard-agent
          expirationSeconds: 3600
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
