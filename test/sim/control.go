package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

// maxControl bounds the body of a request in bytes.
const maxControl = 1 << 16

// faultRequest asks for a fault of the list by its name, or for one of its
// own.
type faultRequest struct {
	Name       string    `json:"name"`
	Kind       FaultKind `json:"kind"`
	Statements int       `json:"statements"`
	Keep       int       `json:"keep"`
	Line       string    `json:"line"`
	Lines      []string  `json:"lines"`
	Policy     string    `json:"policy"`
	Delay      string    `json:"delay"` // such as "5s"
	When       When      `json:"when"`

	Boot appliance.Boot `json:"boot"`
}

// faultStatus describes an injection.
type faultStatus struct {
	Kind    FaultKind `json:"kind"`
	When    When      `json:"when"`
	Strikes int       `json:"strikes"`
}

// control serves the part of the HTTP port that makes things go wrong; package
// target documents it.
func (s *Sim) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/faults", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, s.faults.list())
	})
	mux.HandleFunc("POST /v1/faults", s.addFault)
	mux.HandleFunc("DELETE /v1/faults", func(w http.ResponseWriter, _ *http.Request) {
		s.ClearFaults()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /v1/phase", func(w http.ResponseWriter, _ *http.Request) { s.showPhase(w) })
	mux.HandleFunc("POST /v1/reboot", func(w http.ResponseWriter, r *http.Request) {
		s.goDown(w, r, appliance.Boot{})
	})
	mux.HandleFunc("POST /v1/power-cut", func(w http.ResponseWriter, r *http.Request) {
		s.goDown(w, r, appliance.Boot{PowerCut: true})
	})
	return mux
}

// addFault injects what the body asks for.
func (s *Sim) addFault(w http.ResponseWriter, r *http.Request) {
	var request faultRequest
	if !read(w, r, &request) {
		return
	}
	fault, err := request.fault()
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.Inject(fault, request.When)
	answer(w, http.StatusCreated, faultStatus{Kind: fault.Kind, When: request.When})
}

// fault finds or makes the fault.
func (r faultRequest) fault() (Fault, error) {
	known := Faults()
	if r.Name != "" {
		i := slices.IndexFunc(known, func(f NamedFault) bool { return f.Name == r.Name })
		if i < 0 {
			return Fault{}, fmt.Errorf("no fault has the name %q", r.Name)
		}
		return known[i].Fault, nil
	}
	if !slices.ContainsFunc(known, func(f NamedFault) bool { return f.Fault.Kind == r.Kind }) {
		return Fault{}, fmt.Errorf("no fault is of the kind %q; give a kind or a name", r.Kind)
	}
	fault := Fault{
		Kind: r.Kind, Statements: r.Statements, Keep: r.Keep, Line: r.Line, Lines: r.Lines, Policy: r.Policy,
		Boot: r.Boot,
	}
	if r.Delay == "" {
		return fault, nil
	}
	var err error
	if fault.Delay, err = time.ParseDuration(r.Delay); err != nil {
		return Fault{}, fmt.Errorf("delay: want a duration such as 5s: %w", err)
	}
	return fault, nil
}

// goDown reboots; the body may change how.
func (s *Sim) goDown(w http.ResponseWriter, r *http.Request, boot appliance.Boot) {
	if !read(w, r, &boot) {
		return
	}
	if err := s.Reboot(r.Context(), boot); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.showPhase(w)
}

func (s *Sim) showPhase(w http.ResponseWriter) {
	answer(w, http.StatusOK, map[string]string{"phase": s.Phase().String()})
}

// read decodes a body into v, which stays as it is if there is none, and says
// so to the client if it can't.
func read(w http.ResponseWriter, r *http.Request, v any) bool {
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxControl))
	body.DisallowUnknownFields()
	if err := body.Decode(v); err != nil && !errors.Is(err, io.EOF) {
		http.Error(w, "bad request: "+err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

// answer sends v; an error means that the client left.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
