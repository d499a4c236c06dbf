package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

const (
	fileName = "ledger"
	fileSize = 1 << 20
)

var errNotMounted = errors.New("no volume is mounted there")

// published is the folder under which a kubelet gives a volume to a pod. A program in the pod would see it at its
// mountPath; the fake container runtime runs none, so we write and read here.
func published(kubeletRoot string, where place) string {
	return filepath.Join(kubeletRoot, "pods", where.uid, "volumes", "kubernetes.io~csi", where.volume, "mount")
}

// writeFile writes random content into the volume, waits until the disk has it, and returns its SHA-256.
func writeFile(folder string) (sum string, err error) {
	if err := mounted(folder); err != nil {
		return "", err
	}
	content := make([]byte, fileSize)
	_, _ = rand.Read(content)                                                                           // never fails
	file, err := os.OpenFile(filepath.Join(folder, fileName), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // the folder is the run's own
	if err != nil {
		return "", fmt.Errorf("write into the volume: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.Write(content); err != nil {
		return "", fmt.Errorf("write into the volume: %w", err)
	}
	if err := file.Sync(); err != nil {
		return "", fmt.Errorf("sync the volume: %w", err)
	}
	return checksum(content), nil
}

// readFile returns the SHA-256 of what writeFile wrote.
func readFile(folder string) (string, error) {
	if err := mounted(folder); err != nil {
		return "", err
	}
	content, err := os.ReadFile(filepath.Join(folder, fileName)) //nolint:gosec // the folder is the run's own
	if err != nil {
		return "", fmt.Errorf("read from the volume: %w", err)
	}
	return checksum(content), nil
}

// mounted makes sure that the folder is a file system of its own, and not a folder of this machine's disk.
func mounted(folder string) error {
	inside, err := os.Stat(folder)
	if err != nil {
		return fmt.Errorf("look at the volume: %w", err)
	}
	outside, err := os.Stat(filepath.Dir(folder))
	if err != nil {
		return fmt.Errorf("look beside the volume: %w", err)
	}
	if device(inside) == device(outside) {
		return fmt.Errorf("%w: %s", errNotMounted, folder)
	}
	return nil
}

func checksum(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// device is the number of the file system that holds a file.
func device(info os.FileInfo) uint64 {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return stat.Dev
}
