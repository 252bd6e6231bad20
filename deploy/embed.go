package deploy

import (
	"embed"
	"io/fs"
)

//go:embed all:chart
var files embed.FS

// Chart gives the files of the agent's Helm chart: Chart.yaml, values.yaml,
// values.schema.json and templates/.
func Chart() fs.FS {
	chart, err := fs.Sub(files, "chart")
	if err != nil {
		panic(err) // the name is a constant
	}
	return chart
}
