"""The data sets that come with dlcore or are downloaded by it."""
