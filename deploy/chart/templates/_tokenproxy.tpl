{{/* The token proxy's variables. */}}
{{- define "tokenProxyEnv" -}}
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: AZURE_TENANT_ID
  value: {{ .Values.azureTenantID | quote }}
- name: AZURE_FEDERATED_TOKEN_FILE
  value: /var/run/secrets/azure/wi/token/azure-identity-token
{{- if .Values.lanyard.caBundle }}
- name: AZURE_AUTHORITY_HOST
  value: {{ include "authorityHost" . | quote }}
- name: SSL_CERT_FILE
  value: /lanyard/ca.crt
{{- else }}
- name: AZURE_ENVIRONMENT
  value: {{ .Values.azureEnvironment | quote }}
{{- end }}
{{- end }}

{{/* The authority host of the first way to a Lanyard cloud. */}}
{{- define "authorityHost" -}}
{{- $way := first .Values.lanyard.authority -}}
{{- if eq $way "alias" -}}
https://login-us.microsoftonline.com/
{{- else if eq $way "own-host" -}}
{{ required "lanyard.authorityHost is required with lanyard.authority own-host" .Values.lanyard.authorityHost }}
{{- else -}}
{{- $hosts := dict
  "AzurePublicCloud" "https://login.microsoftonline.com/" "AzureCloud" "https://login.microsoftonline.com/"
  "AzureUSGovernment" "https://login.microsoftonline.us/" "AzureUSGovernmentCloud" "https://login.microsoftonline.us/"
  "AzureChinaCloud" "https://login.chinacloudapi.cn/" "AzureGermanCloud" "https://login.microsoftonline.de/" -}}
{{- required "lanyard.authority override is not for azureEnvironment AzureStackCloud" (get $hosts .Values.azureEnvironment) -}}
{{- end -}}
{{- end }}

{{/* Names that lead to the cloud, for pods that talk to it. */}}
{{- define "hostAliases" -}}
{{- with .Values.lanyard }}
{{- if .address }}
hostAliases:
  - ip: {{ .address | quote }}
    hostnames:
      - {{ (urlParse (include "authorityHost" $)).hostname }}
      {{- if .agentsURL }}
      - {{ (urlParse .agentsURL).hostname }}
      {{- end }}
{{- end }}
{{- end }}
{{- end }}
