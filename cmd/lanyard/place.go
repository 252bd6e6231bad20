package main

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/lanyard-id/lanyard/internal/command"
	"github.com/lanyard-id/lanyard/internal/server"
)

// placeFlags find a cloud on this machine by where it keeps its data, for
// commands that work without it running.
type placeFlags struct{ data, config, envFile string }

func (f *placeFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.data, "data", "", "data directory `DIR` of a cloud that lanyard up runs (default "+defaultDataHelp+")")
	cmd.Flags().StringVar(&f.config, "config", "", "configuration `FILE` of a cloud that lanyard serve runs")
}

func (f *placeFlags) check() error {
	if f.data != "" && f.config != "" {
		return command.Usagef("--data and --config exclude each other")
	}
	return nil
}

// load gives the cloud's configuration.
func (f *placeFlags) load() (server.Config, error) {
	cfg := server.Config{}
	if f.config != "" {
		var err error
		if cfg, err = server.LoadConfig(f.config); err != nil {
			return cfg, err
		}
	} else {
		dir, err := dataDir(f.data)
		if err != nil {
			return cfg, err
		}
		cfg = server.UpDefaults(dir)
	}
	cfg.Version = command.Version()
	return cfg, nil
}

// environment reads the environment file of the cloud, which it writes when it
// runs.
func (f *placeFlags) environment(cfg server.Config) (server.Environment, error) {
	path := f.envFile
	if path == "" {
		path = cfg.EnvFile
	}
	if path == "" {
		path = filepath.Join(cfg.DataDir, "env.json")
	}
	return server.LoadEnvironment(path)
}
