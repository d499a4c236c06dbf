package target

import (
	"encoding/json"
	"errors"
	"net/http"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/export"
)

// maxRequest bounds the body of a connect request in bytes.
const maxRequest = 1 << 16

type connectRequest struct {
	SubsystemNQN string `json:"subsystemNQN"`
	HostNQN      string `json:"hostNQN"`
}

// event is one line of the stream a connected initiator reads.
type event struct {
	Event   string `json:"event"`
	Session string `json:"session,omitempty"`
	File    string `json:"file,omitempty"`
	Size    int64  `json:"size,omitempty"`
	Serial  string `json:"serial,omitempty"`
	UUID    string `json:"uuid,omitempty"`
}

// connect lets an initiator in and keeps its stream open until the session is
// over. The stream ending by itself says nothing about the initiator's I/O.
func (s *Server) connect(w http.ResponseWriter, r *http.Request) {
	var request connectRequest
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&request)
	if err != nil || request.SubsystemNQN == "" || request.HostNQN == "" {
		http.Error(w, "want JSON with subsystemNQN and hostNQN", http.StatusBadRequest)
		return
	}
	session, err := s.exports.Connect(request.SubsystemNQN, request.HostNQN)
	if errors.Is(err, export.ErrDown) {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	s.stream(w, r, session)
}

func (s *Server) stream(w http.ResponseWriter, r *http.Request, session *export.Session) {
	out := http.NewResponseController(w)
	send := func(e event) bool {
		return json.NewEncoder(w).Encode(e) == nil && out.Flush() == nil
	}
	connected := send(event{
		Event: "connected", Session: session.ID, File: session.File, Size: session.Size,
		Serial: session.Serial, UUID: session.UUID,
	})
	if !connected {
		s.exports.Broken(session)
		return
	}
	revoked := session.Revoked()
	for {
		select {
		case <-revoked:
			revoked = nil
			if !send(event{Event: "revoked"}) {
				s.exports.Broken(session)
				return
			}
		case <-session.Ended():
			return
		case <-session.Lost():
			return
		case <-r.Context().Done():
			s.exports.Broken(session)
			return
		}
	}
}
