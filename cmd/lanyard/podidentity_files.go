package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/lanyard-id/lanyard/internal/atomicfile"
	"github.com/lanyard-id/lanyard/internal/migration"
)

// manifestFile is a file with a manifest.
type manifestFile struct {
	Path string `json:"path"`
	// Outcome is created, changed or unchanged.
	Outcome string `json:"outcome"`
	// Replace says that it is to be replaced in the cluster, not applied.
	Replace bool `json:"replace"`

	workload string // String of it
	content  []byte
}

func (m *manifestFile) of(w migration.Workload) bool { return m.workload == w.String() }

// The outcomes of a file.
const (
	fileCreated   = "created"
	fileChanged   = "changed"
	fileUnchanged = "unchanged"
)

// write writes the manifests of a plan, or none: files that are not this command's
// own any more are found first. Their mode is 0600, since workloads may hold secrets.
func (f *detectFlags) write(plan migration.Plan) ([]manifestFile, error) {
	files, err := f.files(plan)
	if err != nil {
		return nil, err
	}
	var edited []string
	for i := range files {
		have, err := os.ReadFile(files[i].Path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			files[i].Outcome = fileCreated
		case err != nil:
			return nil, fmt.Errorf("reading what would be written over: %w", err)
		case bytes.Equal(have, files[i].content):
			files[i].Outcome = fileUnchanged
		default:
			files[i].Outcome = fileChanged
			if !f.force && !isOwnFile(have) {
				edited = append(edited, files[i].Path)
			}
		}
	}
	if len(edited) > 0 {
		return nil, fmt.Errorf("nothing was written: %s would be written over, and this command has not made it as it is: --force does so, or name another --output-dir", strings.Join(edited, ", "))
	}
	for i := range files {
		if files[i].Outcome == fileUnchanged {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(files[i].Path), 0o750); err != nil {
			return nil, fmt.Errorf("making the directory of --output-dir: %w", err)
		}
		if err := atomicfile.Write(files[i].Path, files[i].content, 0o600); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// files are the files of a plan by azwi's names, NAME.yaml and
// NAME-serviceaccount.yaml; in a directory for each namespace where there are all.
// Where two workloads would have one name, theirs have the kind in them too, behind an
// underscore, which no name in Kubernetes has.
func (f *detectFlags) files(plan migration.Plan) ([]manifestFile, error) {
	names := map[string]int{}
	stem := func(w migration.Workload) string {
		if f.all {
			return filepath.Join(f.dir, w.Namespace, w.Name)
		}
		return filepath.Join(f.dir, w.Name)
	}
	for _, w := range plan.Workloads {
		if w.State == migration.Move {
			names[stem(w)+".yaml"]++
			names[stem(w)+accountSuffix]++
		}
	}
	var files []manifestFile
	for _, w := range plan.Workloads {
		if w.State != migration.Move {
			continue
		}
		base := stem(w)
		if names[base+".yaml"] > 1 || names[base+accountSuffix] > 1 {
			base += "_" + strings.ToLower(w.Kind)
		}
		for _, m := range []manifestFile{
			{Path: base + accountSuffix, content: manifestContent(w.Manifests.ServiceAccount)},
			{Path: base + ".yaml", content: manifestContent(w.Manifests.Workload), Replace: w.Manifests.Replace},
		} {
			if m.content == nil {
				return nil, fmt.Errorf("the manifest of %s cannot be written as YAML", w.String())
			}
			m.workload = w.String()
			files = append(files, m)
		}
	}
	return files, nil
}

const accountSuffix = "-serviceaccount.yaml"

// manifestHead begins the first line of a file, which ends with the hash of the rest:
// so a file that was edited is told from one that was not.
const manifestHead = "# Written by lanyard podidentity detect, and written over by it unless edited: sha256:"

// manifestContent is a file's content, nil where the object is none.
func manifestContent(o *unstructured.Unstructured) []byte {
	text, err := yaml.Marshal(o.Object)
	if err != nil {
		return nil
	}
	return append([]byte(headOf(text)), text...)
}

func headOf(text []byte) string { return fmt.Sprintf("%s%x\n", manifestHead, sha256.Sum256(text)) }

// isOwnFile reports whether a file is as this command wrote it.
func isOwnFile(content []byte) bool {
	head, text, _ := bytes.Cut(content, []byte("\n"))
	return string(head)+"\n" == headOf(text)
}
