package appliance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// config is the content of config.json.
type config struct {
	NextID int     `json:"nextID"`
	Disks  []*disk `json:"disks"`
}

func (a *Appliance) configPath() string { return filepath.Join(a.options.StateDir, "config.json") }

// save writes the configuration whole or not at all.
func (a *Appliance) save() error {
	data, err := a.encode()
	if err != nil {
		return err
	}
	a.remember(data)
	return a.write(data)
}

func (a *Appliance) encode() ([]byte, error) {
	data, err := json.MarshalIndent(config{NextID: a.nextID, Disks: a.disks}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	return data, nil
}

func (a *Appliance) write(data []byte) error {
	if a.options.Volatile {
		return nil
	}
	next := a.configPath() + ".next"
	if err := os.WriteFile(next, data, 0o600); err != nil {
		return fmt.Errorf("save configuration: %w", err)
	}
	if err := os.Rename(next, a.configPath()); err != nil {
		return fmt.Errorf("save configuration: %w", err)
	}
	return nil
}

// load reads what an earlier run saved, if there was one. It is in flash.
func (a *Appliance) load() error {
	data, err := os.ReadFile(a.configPath())
	if errors.Is(err, fs.ErrNotExist) {
		data, err = a.encode()
	}
	if err != nil {
		return fmt.Errorf("load configuration: %w", err)
	}
	a.flash = []image{{data: data}}
	return a.restore(data)
}

// restore takes over a saved configuration.
func (a *Appliance) restore(data []byte) error {
	var c config
	if err := json.Unmarshal(data, &c); err != nil {
		return fmt.Errorf("load configuration %s: %w", a.configPath(), err)
	}
	for _, d := range c.Disks {
		if d.ID <= len(a.options.Pools) {
			return fmt.Errorf("%w: %s has %d pools, but was made with fewer: its item ids would clash",
				ErrOptions, a.options.StateDir, len(a.options.Pools))
		}
	}
	a.disks = c.Disks
	a.nextID = max(a.nextID, c.NextID)
	return nil
}
