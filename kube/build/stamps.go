package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// stampFile says of each program what it was built from.
const stampFile = "built.json"

func readStamps(directory string) (map[string]string, error) {
	stamps := map[string]string{}
	raw, err := os.ReadFile(filepath.Join(directory, stampFile))
	if errors.Is(err, fs.ErrNotExist) {
		return stamps, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &stamps); err != nil {
		return nil, fmt.Errorf("%s is not what a build wrote, remove it: %w", filepath.Join(directory, stampFile), err)
	}
	return stamps, nil
}

func writeStamps(directory string, stamps map[string]string) error {
	raw, err := json.MarshalIndent(stamps, "", "\t")
	if err != nil {
		return err
	}
	path := filepath.Join(directory, stampFile)
	if err := os.WriteFile(path+".new", raw, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path) // whole, whenever a build is interrupted
}

// stamp is a hash of all that the program comes from: the versions of its
// modules, the sources of this repository, how it is built, and by which Go.
func (p program) stamp(toolchain, version string) (string, error) {
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\n%s\n%+v\n", toolchain, version, p)
	files := []string{"go.mod", "go.sum"}
	if p.pkg == "." || strings.HasPrefix(p.pkg, "./") {
		own, err := filepath.Glob(filepath.Join(p.module, p.pkg, "*.go"))
		if err != nil {
			return "", err
		}
		for _, f := range own {
			relative, err := filepath.Rel(p.module, f)
			if err != nil {
				return "", err
			}
			files = append(files, relative)
		}
	}
	for _, name := range files {
		raw, err := os.ReadFile(filepath.Join(p.module, name))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%s %d\n", name, len(raw))
		sum.Write(raw)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
