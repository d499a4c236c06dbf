package alerts

import (
	"fmt"
	"os"
	"testing"
)

// promtoolProgram is the program that the alerts are tried with.
var promtoolProgram = os.Getenv("RDS_CSI_PROMTOOL")

func TestMain(m *testing.M) {
	if promtoolProgram == "" {
		fmt.Fprintln(os.Stderr, "set RDS_CSI_PROMTOOL to the program promtool; make monitoring does")
		os.Exit(1)
	}
	os.Exit(m.Run())
}
