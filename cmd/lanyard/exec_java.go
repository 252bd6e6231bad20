package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/lanyard-id/lanyard/internal/trust"
)

// javaVariables have Java trust the certificates of a PEM bundle: the JDK reads
// no PEM and no environment variable but its options, so that the bundle goes
// into a trust store in dir, and options that the caller has set are kept.
func javaVariables(bundle, dir string, getenv func(string) string) ([]variable, error) {
	text, err := os.ReadFile(bundle)
	if err != nil {
		return nil, err
	}
	certificates, err := trust.Parse(text)
	if len(certificates) == 0 { // of some, those that Go cannot read are left out
		return nil, err
	}
	store, err := trust.JavaStore(certificates)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "truststore.p12")
	if err := os.WriteFile(file, store, 0o600); err != nil {
		return nil, err
	}
	return []variable{{"JAVA_TOOL_OPTIONS", strings.TrimSpace(getenv("JAVA_TOOL_OPTIONS") + " " + trust.JavaOptions(file))}}, nil
}
