// Command rds-csi is the driver: its subcommands are the processes that a cluster runs.
package main

import (
	"os"

	"git.srvlab.io/whiskey/rds-csi-driver/cmd/rds-csi/app"
)

func main() { os.Exit(app.Main(os.Args[0], os.Args[1:])) }
