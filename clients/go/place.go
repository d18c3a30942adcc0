package amid

import (
	"os"
	"strings"
	"syscall"
)

const aSocket = "a socket"

// find gives the endpoint of the daemon's rpc socket. A directory that was named, by runDir or AMID_RUN_DIR, is the only one to
// look in: another could be another PBX's.
func find(runDir string) (string, error) {
	var looked []string
	for _, directory := range runDirs(runDir) {
		found := there(directory + "/rpc")
		if found == aSocket {
			return "ipc://" + directory + "/rpc", nil
		}
		looked = append(looked, directory+": "+found)
	}
	return "", unreachable("no amid daemon found (" + strings.Join(looked, "; ") + ")")
}

func runDirs(runDir string) []string {
	if runDir != "" {
		return []string{runDir}
	}
	if named := os.Getenv("AMID_RUN_DIR"); named != "" {
		return []string{named}
	}
	found := []string{"/run/amid"}
	if private := os.Getenv("XDG_RUNTIME_DIR"); private != "" {
		found = append(found, private+"/amid")
	}
	return found
}

// there is what is at a path, in words. Connecting to a socket takes the permission to write it.
func there(path string) string {
	info, err := os.Stat(path)
	switch {
	case os.IsPermission(err):
		return "this user may not enter it"
	case err != nil || info.Mode()&os.ModeSocket == 0:
		return "no socket"
	case syscall.Access(path, 2) != nil: // W_OK
		return "this user may not use its socket"
	}
	return aSocket
}

// nobodyAt is what a call ends with when nobody took its request over.
func nobodyAt(endpoint string) *Error {
	return unreachable("no amid daemon answers at " + endpoint)
}

func unreachable(what string) *Error {
	return &Error{Kind: "unreachable", Message: what + ": start one with `amid run`, or name its directory in AMID_RUN_DIR"}
}
