def save_model(path, model, **k):
    pass
