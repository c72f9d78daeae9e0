// Says what others make of resources: kstatus (which Flux and `kubectl` plug-ins use) by its own library, and Argo CD by
// the interpreter that it runs health checks with.
//
// Standard input: a JSON list of {"object": ..., "lua": "..."}. Standard output: a JSON list of
// {"kstatus": {"status", "message"}, "argo": {"status", "message"}}.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

type question struct {
	Object json.RawMessage `json:"object"`
	Lua    string          `json:"lua"`
}

type opinion struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

type answer struct {
	Kstatus opinion `json:"kstatus"`
	Argo    opinion `json:"argo"`
}

func main() {
	var questions []question
	if err := json.NewDecoder(os.Stdin).Decode(&questions); err != nil {
		fail(err)
	}
	answers := make([]answer, len(questions))
	for i, q := range questions {
		a, err := ask(q)
		if err != nil {
			fail(fmt.Errorf("question %d: %w", i, err))
		}
		answers[i] = a
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func ask(q question) (answer, error) {
	var object unstructured.Unstructured
	// Its decoder keeps integers, which kstatus insists on.
	if err := object.UnmarshalJSON(q.Object); err != nil {
		return answer{}, err
	}
	result, err := status.Compute(&object)
	if err != nil {
		return answer{}, err
	}
	argo, err := health(q.Lua, object.Object)
	if err != nil {
		return answer{}, err
	}
	return answer{Kstatus: opinion{string(result.Status), result.Message}, Argo: argo}, nil
}

// health runs a script as Argo CD does: without libraries that reach outside, `obj` is the resource, and the table that it
// returns has a status and a message.
func health(script string, object map[string]any) (opinion, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable, lua.StringLibName: lua.OpenString,
	} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			return opinion{}, err
		}
	}
	state.SetGlobal("obj", value(state, object))
	if err := state.DoString(script); err != nil {
		return opinion{}, err
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return opinion{}, fmt.Errorf("the script returned a %s, not a table", state.Get(-1).Type())
	}
	return opinion{lua.LVAsString(table.RawGetString("status")), lua.LVAsString(table.RawGetString("message"))}, nil
}

func value(state *lua.LState, from any) lua.LValue {
	switch v := from.(type) {
	case bool:
		return lua.LBool(v)
	case int64:
		return lua.LNumber(v)
	case float64:
		return lua.LNumber(v)
	case string:
		return lua.LString(v)
	case []any:
		table := state.CreateTable(len(v), 0)
		for _, item := range v {
			table.Append(value(state, item))
		}
		return table
	case map[string]any:
		table := state.CreateTable(0, len(v))
		for key, item := range v {
			table.RawSetString(key, value(state, item))
		}
		return table
	default:
		return lua.LNil
	}
}
