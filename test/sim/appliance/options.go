package appliance

import (
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/export"
)

// GiB is 1024³ bytes.
const GiB = 1 << 30

// Pool is a mounted file system that backing files live on.
type Pool struct {
	// Name is slot, mount point and first part of every file name.
	Name string
	// Size in bytes.
	Size int64
	// Label of the file system.
	Label string
	// FS is its type; "xfs" if empty.
	FS string
}

// Options of an [Appliance].
type Options struct {
	// StateDir holds configuration and backing files; it must exist.
	StateDir string
	// Version is the RouterOS version, such as "7.24.4" (the default).
	Version string
	// WithoutRose leaves the rose-storage package out.
	WithoutRose bool
	// Pools are the file systems; at least one.
	Pools []Pool
	// Uptime is how long the appliance has been up when it is opened.
	Uptime time.Duration
	// Exports is the target the disks are exported to.
	Exports *export.Registry
	// Unknowns decides what documentation leaves open.
	Unknowns Unknowns
	// Console is how print looks to people.
	Console Console
	// Logins, when set, lists the users that are connected. It must not call
	// the appliance.
	Logins func() []Login
	// MaxSessions is what /ip service shows; it is the front end that holds it.
	MaxSessions int
	// FlashDelay is how long the configuration takes to reach flash: a power
	// cut loses what was written within it. 0 loses nothing.
	FlashDelay time.Duration
	// Volatile keeps the configuration out of StateDir: it ends with the
	// process, and costs no writing.
	Volatile bool
	// Timing is how long everything takes; the zero value takes no time.
	Timing Timing
}

// ExistingFile says what /disk add with a file-size does to a file that is
// there already.
type ExistingFile int

const (
	// ReuseFile keeps the contents and sets the size.
	ReuseFile ExistingFile = iota
	// RefuseFile fails.
	RefuseFile
	// TruncateFile empties the file first.
	TruncateFile
)

// PathSpelling says how /disk spells the file-path of a disk.
type PathSpelling int

const (
	// Slashed shows it with a leading slash, and finds it so.
	Slashed PathSpelling = iota
	// Bare shows it without, and finds it so.
	Bare
	// FoundBare shows it with one, and finds it without.
	FoundBare
	// NeverFound shows it with one, and finds it in no spelling.
	NeverFound
)

// Unknowns are the behaviours nobody has seen documented. The zero value is
// the likelier answer; a client must be right under all of them.
type Unknowns struct {
	// ExistingFile is what add does to a file that exists.
	ExistingFile ExistingFile
	// AttachMakesFile has add without a file-size make an empty file where there
	// is none; otherwise it fails.
	AttachMakesFile bool
	// AttachEmptiesFile has add without a file-size empty the file, and keep its
	// size.
	AttachEmptiesFile bool
	// ThinFiles leaves free space alone when a file is made.
	ThinFiles bool
	// LiveResize shows a new file-size without a new export.
	LiveResize bool
	// AllowShrink lets set make a file smaller.
	AllowShrink bool
	// RefuseLiveFileRemove keeps /file remove from files a disk uses.
	RefuseLiveFileRemove bool
	// EmptyListAsString serializes an empty list as "" instead of [].
	EmptyListAsString bool
	// PrintMax is the most items that print as-value yields; no bound if zero.
	PrintMax int
	// RawControls serializes line ends in a text as they are, not as \r and \n.
	RawControls bool
	// AutoFileSize shows the file-size of a disk that was made without one as
	// "auto".
	AutoFileSize bool
	// PathSpelling is how a file-path is shown, and matched by where.
	PathSpelling PathSpelling
	// RenameNeedsReexport leaves an exported disk reachable under its old NQN
	// when it gets another one, until the export is taken away.
	RenameNeedsReexport bool
	// CoalesceExports brings the target in line with the exports only when a line
	// has ended, and then leaves a disk alone that was exported before and is
	// again, whatever its NQN was meanwhile.
	CoalesceExports bool
	// RoundSizes shows sizes of disks in whole MiB.
	RoundSizes bool
	// LineMax is how many bytes of a line are taken, without a word about the
	// others; all if zero.
	LineMax int
	// SlotMax is the longest slot name; 32 if zero.
	SlotMax int
	// CommentMax is how many bytes of a comment are kept, without a word about
	// the others; all if zero.
	CommentMax int
	// NQNMax is the same for an NQN.
	NQNMax int
	// UnmountedKeepsMountPoint shows the mount-point of a pool also while it
	// isn't mounted.
	UnmountedKeepsMountPoint bool
	// ListensEarly has the target answer while the appliance starts, and refuse
	// everybody, as no export is back yet; otherwise nobody answers until then.
	ListensEarly bool
	// TellsOfLostFiles says in a disk's about that its file isn't there.
	TellsOfLostFiles bool
	// RefuseSharedFile keeps a disk from using the file of another one.
	RefuseSharedFile bool
	// DisabledKeepsExport leaves a disabled disk exported.
	DisabledKeepsExport bool
	// FirstLineOnly runs the first line of an exec of several; otherwise the
	// whole is a syntax error.
	FirstLineOnly bool
	// ExactSFTPSizes makes SFTP report the sizes of files as they are.
	ExactSFTPSizes bool
	// SFTPRename lets SFTP rename files; otherwise it is refused.
	SFTPRename bool
	// StopOnDisconnect ends a running line when its SSH channel goes away;
	// otherwise it runs to its end.
	StopOnDisconnect bool
	// Texts are the messages behind "failure: ".
	Texts Texts
}

// Texts are messages whose real wording is unknown. Nothing may depend on
// them. Empty fields get a default.
type Texts struct {
	SlotTaken, SlotTooLong, NQNTaken, NoDirectory, PoolFull string
	FileExists, FileInUse, NoFile, Shrink, NotSimulated     string
	Interrupted, FileShared                                 string
}

func (t Texts) withDefaults() Texts {
	fill := func(text *string, fallback string) {
		if *text == "" {
			*text = fallback
		}
	}
	fill(&t.SlotTaken, "already have disk with such slot")
	fill(&t.SlotTooLong, "slot name too long")
	fill(&t.NQNTaken, "already have such nqn")
	fill(&t.NoDirectory, "no such directory")
	fill(&t.PoolFull, "not enough disk space")
	fill(&t.FileExists, "file already exists")
	fill(&t.FileInUse, "file is in use")
	fill(&t.FileShared, "file is used by another disk")
	fill(&t.NoFile, "no such file")
	fill(&t.Shrink, "can not shrink file")
	fill(&t.NotSimulated, "not simulated")
	fill(&t.Interrupted, "interrupted")
	return t
}

// Policies are what a user group may do. The zero value may do nothing.
type Policies struct {
	SSH, Read, Write, Test bool
	// FTP is needed for SFTP, Sensitive to read passwords.
	FTP, Sensitive bool
}

// AllPolicies may do everything.
func AllPolicies() Policies {
	return Policies{SSH: true, Read: true, Write: true, Test: true, FTP: true, Sensitive: true}
}
