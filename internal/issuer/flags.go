package issuer

// Flags are those of the control plane's programs by which a cluster has the
// keys of a directory.
type Flags struct {
	APIServer         []string `json:"kubeAPIServer"`
	ControllerManager []string `json:"kubeControllerManager"`
}

// Flags gives the flags for a state: the API server signs with the signing key
// and accepts the tokens of all keys, the signing one first. The controller
// manager signs the tokens of Secrets, which never end.
func (d *Directory) Flags(s State) Flags {
	signing, _ := s.In(Signing)
	f := Flags{
		APIServer: []string{
			"--service-account-issuer=" + s.Issuer,
			"--service-account-jwks-uri=" + KeySetURL(s.Issuer),
			"--service-account-signing-key-file=" + d.PrivateFile(signing.ID),
			"--service-account-key-file=" + d.PublicFile(signing.ID),
		},
		ControllerManager: []string{"--service-account-private-key-file=" + d.PrivateFile(signing.ID)},
	}
	for _, k := range s.Keys {
		if k.ID != signing.ID {
			f.APIServer = append(f.APIServer, "--service-account-key-file="+d.PublicFile(k.ID))
		}
	}
	return f
}
