package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// errNoResult says that the guest didn't come to hand over a result.
var errNoResult = errors.New("no exit code came back")

// collect reads the archive in which the guest hands over its files and, last, the exit code, and puts each file where it
// belongs.
func (g guest) collect(archive string) (int, error) {
	file, err := os.Open(archive) //nolint:gosec // a file of this run
	if err != nil {
		return exitFailure, errNoResult
	}
	defer func() { _ = file.Close() }()
	for entries := tar.NewReader(file); ; {
		entry, err := entries.Next()
		if err != nil {
			return exitFailure, errors.Join(errNoResult, err)
		}
		content, err := io.ReadAll(entries)
		if err != nil {
			return exitFailure, errors.Join(errNoResult, err)
		}
		if entry.Name == "result" {
			return strconv.Atoi(strings.TrimSpace(string(content)))
		}
		name, rest, _ := strings.Cut(strings.TrimPrefix(entry.Name, "out/"), "/")
		if host, wanted := g.outputs[name]; wanted && entry.Typeflag == tar.TypeReg {
			if err := os.WriteFile(filepath.Join(host, rest), content, 0o600); err != nil {
				return exitFailure, fmt.Errorf("bring %s back: %w", entry.Name, err)
			}
		}
	}
}
