// Command machine makes a machine out of namespaces, for the cluster under test.
//
//	machine init NAME FILES          the first process of a machine
//	machine enter PID -- PROGRAM...  a program on the machine whose first process has that PID
//	machine janitor DIRECTORY NAME   removes what is left when its caller has ended
//
// A machine lasts as long as the standard input of its init: whoever holds the
// other end may end in any way, and the kernel ends all that ran on the machine.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

func main() {
	err := run(os.Args[1:])
	if failed, is := errors.AsType[*exec.ExitError](err); is {
		os.Exit(exitCode(failed))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "machine:", err)
		os.Exit(125) // as env and nsenter do, so that it is not taken for the program's
	}
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "init":
		return initialize(args[1], args[2])
	case len(args) > 3 && args[0] == "enter" && args[2] == "--":
		return enter(args[1], args[3:])
	case len(args) > 1 && args[0] == become:
		return exchange(args[1:])
	case len(args) == 3 && args[0] == "janitor":
		return clean(args[1], args[2])
	}
	return errors.New("usage: machine init NAME FILES | enter PID -- PROGRAM... | janitor DIRECTORY NAME")
}
