-- The stand-in for the TV API, so that the demo needs no network: a list of shows in the shape of
-- TVmaze's index. The shows are made up.
local shows = {
  { "The Last Lighthouse", { "Drama", "Mystery" }, "Ended", 2011, 8.4 },
  { "Orbit Kitchen", { "Comedy", "Science-Fiction" }, "Running", 2021, 7.9 },
  { "Paper Detectives", { "Crime", "Family" }, "Running", 2019, 7.2 },
  { "North of Nowhere", { "Drama", "Adventure" }, "Ended", 2008, 8.8 },
  { "The Quiet Ward", { "Medical", "Drama" }, "Ended", 2014, 7.5 },
  { "Copper & Rain", { "Crime", "Thriller" }, "Running", 2022, 8.1 },
  { "Seventeen Bridges", { "History", "Drama" }, "Ended", 2016, 8.3 },
  { "Goat Problems", { "Comedy" }, "Running", 2020, 6.9 },
  { "Under the Salt Moon", { "Fantasy", "Romance" }, "Ended", 2012, 7.0 },
  { "Night Ferry", { "Thriller", "Mystery" }, "Running", 2023, 8.6 },
  { "A Map of Small Wars", { "War", "History" }, "Ended", 2005, 8.9 },
  { "The Understudies", { "Comedy", "Music" }, "Ended", 2010, 7.4 },
  { "Glasshouse", { "Drama", "Science-Fiction" }, "Running", 2024, 7.8 },
  { "Bread and Circuits", { "Comedy", "Science-Fiction" }, "Ended", 2013, 7.1 },
  { "Tidal", { "Drama", "Supernatural" }, "Ended", 2017, 7.7 },
  { "The Beekeeper's Daughter", { "Drama", "Family" }, "Running", 2018, 8.0 },
  { "Platform Nine, Track Two", { "Comedy", "Romance" }, "Ended", 2009, 7.3 },
  { "Red Clay", { "Western", "Drama" }, "Ended", 2015, 8.2 },
  { "Hours After Closing", { "Thriller" }, "Running", 2022, 7.6 },
  { "Little Giant Steps", { "Children", "Adventure" }, "Running", 2021, 7.9 },
}

local function slug(name)
  return (name:lower():gsub("'", ""):gsub("[^%a%d]+", "-"))
end

local index = json.array {}
for id, show in ipairs(shows) do
  local name, genres, status, year, rating = table.unpack(show)
  index[id] = {
    id = id,
    url = ("https://tv.example/shows/%d/%s"):format(id, slug(name)),
    name = name,
    type = "Scripted",
    language = "English",
    genres = genres,
    status = status,
    premiered = ("%d-01-15"):format(year),
    rating = { average = rating },
  }
end

local body = json.encode(index)

local function handler()
  return { statusCode = 200, headers = { ["Content-Type"] = "application/json" }, body = body }
end

return { handler = handler, path = "/_luafn/dev/tv/shows", methods = { "GET" }, auth = "public" }
