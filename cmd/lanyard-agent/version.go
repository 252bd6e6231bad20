package main

import (
	"encoding/json"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/lanyard-id/lanyard/internal/command"
)

// printVersion writes the version as upstream's flag --version does. The commit
// and its date are "" in a program that was not built from a repository.
func printVersion(w io.Writer) error {
	v := struct {
		BuildVersion string `json:"buildVersion"`
		GitCommit    string `json:"gitCommit"`
		BuildDate    string `json:"buildDate"`
		GoVersion    string `json:"goVersion"`
		Platform     string `json:"platform"`
	}{BuildVersion: command.Version(), GoVersion: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				v.GitCommit = s.Value
			case "vcs.time":
				v.BuildDate = s.Value
			}
		}
	}
	return json.NewEncoder(w).Encode(v)
}
