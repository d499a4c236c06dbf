package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// attachment is one connected subsystem, as the state file has it.
type attachment struct {
	SubsystemNQN string `json:"subsystemNQN"`
	File         string `json:"file"`
	Device       string `json:"device"`
	Session      string `json:"session"`
}

// loadState reads the state file and keeps what the kernel still has; a file that doesn't exist is an empty one.
func loadState(path string) ([]attachment, error) {
	content, err := os.ReadFile(path) //nolint:gosec // the command line names the folder
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what was connected: %w", err)
	}
	var stored, live []attachment
	if err := json.Unmarshal(content, &stored); err != nil {
		return nil, fmt.Errorf("read what was connected from %s: %w", path, err)
	}
	for _, a := range stored {
		attached, err := isAttached(a.Device, a.File)
		if err != nil {
			return nil, err
		}
		if attached {
			live = append(live, a)
		}
	}
	return live, nil
}

// saveState replaces the state file in one step.
func saveState(path string, attachments []attachment) error {
	content, err := json.MarshalIndent(attachments, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return fmt.Errorf("keep what is connected: %w", err)
	}
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return fmt.Errorf("keep what is connected: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("keep what is connected: %w", err)
	}
	return nil
}
