package transform

// What CEL programs can call: cel-go's libraries, and what shaping events needs
// beside them.

import (
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"
)

// celLanguage is the language of all programs: its names and functions.
var celLanguage = sync.OnceValues(func() (*cel.Env, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	adapter := &celAdapter{registry}
	options := append(celOptions(), cel.CustomTypeAdapter(adapter), cel.CustomTypeProvider(registry))
	return cel.NewEnv(append(options, celFunctions(adapter)...)...)
})

// celOptions are the names and libraries.
func celOptions() []cel.EnvOption {
	options := []cel.EnvOption{
		cel.ParserRecursionLimit(celDepth),
		cel.ParserExpressionSizeLimit(maxSource),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		cel.EnableIdentifierEscapeSyntax(),
		cel.OptionalTypes(),
		ext.Strings(), ext.Math(), ext.Sets(), ext.Encoders(), ext.Lists(ext.ListsMaxRangeSize(celItems)),
		ext.TwoVarComprehensions(), ext.Bindings(),
		// json.encode copies a list once for each list that it is in, YAML has values that stand for others, and what
		// json.parse costs cel-go does not know: it is more than any limit.
		celWithout("json.encode", "json_encode_dyn", cel.StringType, cel.DynType),
		celWithout("json.parse", "json_parse_string", cel.OptionalType(cel.DynType), cel.StringType),
		celWithout("yaml.encode", "yaml_encode_dyn", cel.StringType, cel.DynType),
		celWithout("yaml.parse", "yaml_parse_string", cel.OptionalType(cel.DynType), cel.StringType),
		cel.Variable("data", cel.DynType),
		cel.Variable("metadata", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("time", cel.TimestampType),
		cel.Variable("now", cel.TimestampType),
	}
	for _, name := range []string{"id", "source", "type", "subject", "data_content_type", "partition_key", "gateway", "client"} {
		options = append(options, cel.Variable(name, cel.StringType))
	}
	return options
}

// celWithout takes a library's function from the language.
func celWithout(name, overload string, out, in *cel.Type) cel.EnvOption {
	return cel.Function(name, cel.Overload(overload, []*cel.Type{in}, out), cel.DisableDeclaration(true))
}

func celFunctions(adapter *celAdapter) []cel.EnvOption {
	object := cel.MapType(cel.StringType, cel.DynType)
	return append(celHashes(),
		// merge has the fields of both objects; those of the second win.
		cel.Function("merge", cel.Overload("merge_map_map", []*cel.Type{object, object}, object,
			cel.BinaryBinding(func(a, b ref.Val) ref.Val {
				return celCopy(adapter, nil, b, a)
			}))),
		// omit has an object's fields without some.
		cel.Function("omit", cel.Overload("omit_map_list", []*cel.Type{object, cel.ListType(cel.StringType)}, object,
			cel.BinaryBinding(func(a, names ref.Val) ref.Val {
				without := map[string]bool{}
				list := names.(traits.Lister)
				for i := types.Int(0); i < list.Size().(types.Int); i++ {
					without[str(list.Get(i))] = true
				}
				return celCopy(adapter, without, a)
			}))),
	)
}

// celHashes are the functions that conditions have as well.
func celHashes() []cel.EnvOption {
	return []cel.EnvOption{
		cel.Function("sha256", cel.Overload("sha256_string", []*cel.Type{cel.StringType}, cel.StringType,
			cel.UnaryBinding(func(v ref.Val) ref.Val { return types.String(sha256Text(str(v))) }))),
		cel.Function("hash", cel.Overload("hash_string", []*cel.Type{cel.StringType}, cel.IntType,
			cel.UnaryBinding(func(v ref.Val) ref.Val { return types.Int(hashText(str(v))) }))),
	}
}

// celCopy is a new object with the fields of some, but not those of without. The first that has a field wins.
func celCopy(adapter *celAdapter, without map[string]bool, objects ...ref.Val) ref.Val {
	n := 0
	for _, object := range objects {
		n += size(object)
	}
	out := &celObject{adapter: adapter, fields: make(map[string]any, n)}
	put := func(name string, v any) {
		if _, twice := out.fields[name]; !twice && !without[name] {
			out.fields[name] = out.count(name, v)
		}
	}
	for _, object := range objects {
		switch o := object.(type) {
		case *celObject:
			for name, v := range o.all() {
				put(name, v)
			}
		case traits.Mapper:
			for it := o.Iterator(); it.HasNext() == types.True; {
				k := it.Next()
				name, err := celFieldName(k)
				if err != nil {
					return types.WrapErr(err)
				}
				put(name, o.Get(k))
			}
		}
	}
	return out
}

// celCosts are the costs of our functions: like those of cel-go's, in proportion to what they read.
func celCosts() cel.ProgramOption {
	bytes := func(args []ref.Val, _ ref.Val) *uint64 {
		n := uint64(1 + len(str(args[0]))/10)
		return &n
	}
	fields := func(args []ref.Val, _ ref.Val) *uint64 {
		n := uint64(1 + size(args[0]) + size(args[1]))
		return &n
	}
	return cel.CostTrackerOptions(
		cost.OverloadTracker("sha256_string", bytes),
		cost.OverloadTracker("hash_string", bytes),
		cost.OverloadTracker("merge_map_map", fields),
		cost.OverloadTracker("omit_map_list", fields),
	)
}
