package kafka

func checkStore(store string) ([]string, error) { return nil, nil }
