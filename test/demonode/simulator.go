package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// answerLimit bounds the wait for the simulator's answer; a stream that is open may stay silent for ever.
const answerLimit = 5 * time.Second

// errRefused: the simulator doesn't let this host in. The subsystem was taken away, or never existed.
var errRefused = errors.New("refused")

// simulator asks for subsystems under one host NQN.
type simulator struct {
	url     string
	hostNQN string
	client  *http.Client
}

func newSimulator(address, hostNQN string) *simulator {
	return &simulator{url: strings.TrimSuffix(address, "/"), hostNQN: hostNQN, client: &http.Client{Transport: &http.Transport{}}}
}

type event struct {
	Event   string `json:"event"`
	Session string `json:"session"`
	File    string `json:"file"`
}

const (
	eventConnected = "connected"
	eventRevoked   = "revoked"
)

// stream is one session at the simulator; it is open until it is closed or the simulator ends it.
type stream struct {
	session string
	file    string
	events  *json.Decoder
	close   func()
}

// next waits for the next event. An error means that the stream is over, which says nothing about the session.
func (s *stream) next() (string, error) {
	var e event
	err := s.events.Decode(&e)
	return e.Event, err
}

// connect opens a session. ctx bounds the wait for the answer only; the stream goes on until it is closed. It returns
// errRefused if the simulator says no.
func (s *simulator) connect(ctx context.Context, subsystemNQN string) (*stream, error) {
	body, err := json.Marshal(map[string]string{"subsystemNQN": subsystemNQN, "hostNQN": s.hostNQN})
	if err != nil {
		return nil, err
	}
	answered, answeredInTime := context.WithTimeout(ctx, answerLimit)
	defer answeredInTime()
	open, end := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(answered, end)
	opened, err := s.open(open, bytes.NewReader(body))
	if err == nil && !stop() {
		opened.close()
		err = answered.Err()
	}
	if err != nil {
		end()
		return nil, err
	}
	closeBody := opened.close
	opened.close = func() {
		end()
		closeBody()
	}
	return opened, nil
}

func (s *simulator) open(ctx context.Context, body io.Reader) (*stream, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/v1/connect", body)
	if err != nil {
		return nil, err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	opened, err := readFirst(response)
	if err != nil {
		_ = response.Body.Close()
		return nil, err
	}
	return opened, nil
}

func readFirst(response *http.Response) (*stream, error) {
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusForbidden:
		reason, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		return nil, fmt.Errorf("%w: %s", errRefused, bytes.TrimSpace(reason))
	default:
		return nil, fmt.Errorf("simulator answered %s", response.Status)
	}
	events := json.NewDecoder(response.Body)
	var first event
	if err := events.Decode(&first); err != nil {
		return nil, fmt.Errorf("read the first event: %w", err)
	}
	if first.Event != eventConnected || first.Session == "" || first.File == "" {
		return nil, fmt.Errorf("first event %+v: want %s with session and file", first, eventConnected)
	}
	return &stream{session: first.Session, file: first.File, events: events, close: func() { _ = response.Body.Close() }}, nil
}

// end tells the simulator that this node has no way left to do I/O in the session. A session it doesn't know is success.
func (s *simulator) end(ctx context.Context, session string) error {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodDelete, s.url+"/v1/sessions/"+url.PathEscape(session), nil)
	if err != nil {
		return err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode >= http.StatusBadRequest && response.StatusCode != http.StatusNotFound {
		return fmt.Errorf("simulator answered %s", response.Status)
	}
	return nil
}
