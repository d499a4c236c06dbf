package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	clearedCounter = "rds_csi_stale_attachments_cleared_total"
	askWithin      = 30 * time.Second
	longestAnswer  = 4 << 20
)

var errAnswer = errors.New("unexpected answer")

// revocation is one host that the appliance shut out.
type revocation struct {
	SubsystemNQN string    `json:"subsystemNQN"`
	HostNQN      string    `json:"hostNQN"`
	Time         time.Time `json:"time"` // when it began
	// Confirmed says that the host was seen to have no way left to the disk.
	Confirmed bool    `json:"confirmed"`
	Seconds   float64 `json:"seconds"` // how long it took
}

// revocations asks the simulator, whose HTTP interface is at url, for every revocation that it ever made.
func revocations(ctx context.Context, url string) ([]revocation, error) {
	body, err := get(ctx, url+"/v1/revocations")
	if err != nil {
		return nil, err
	}
	var list []revocation
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("%s/v1/revocations: %w", url, err)
	}
	return list, nil
}

// clearedBy is what all controllers have cleared together.
func clearedBy(ctx context.Context, controllers []string) (float64, error) {
	var sum float64
	for _, url := range controllers {
		count, err := cleared(ctx, url)
		if err != nil {
			return 0, err
		}
		sum += count
	}
	return sum, nil
}

// cleared scrapes one controller's count of stale attachments that it cleared, over all labels.
func cleared(ctx context.Context, url string) (float64, error) {
	body, err := get(ctx, url+"/metrics")
	if err != nil {
		return 0, err
	}
	var sum float64
	found := false
	lines := bufio.NewScanner(strings.NewReader(string(body)))
	for lines.Scan() {
		name, rest, _ := strings.Cut(lines.Text(), " ")
		if base, _, _ := strings.Cut(name, "{"); base != clearedCounter {
			continue
		}
		value, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			return 0, fmt.Errorf("%s/metrics: %q: %w", url, lines.Text(), err)
		}
		sum, found = sum+value, true
	}
	if !found {
		return 0, fmt.Errorf("%w: %s/metrics has no %s", errAnswer, url, clearedCounter)
	}
	return sum, nil
}

func get(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", url, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", url, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, longestAnswer))
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", url, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: %s: %s: %s", errAnswer, url, response.Status, body)
	}
	return body, nil
}
